//! The files of a JEPA.

use super::{
    Jepa, JepaSettings,
    heads::Backbone,
    model::identity,
    response::{
        Beyond, Decoder, Encoder, FeatureChoice, Interaction, Measured, Predictor, Reference, Response, Share, Similar,
        Unseen, columns_of,
    },
};
use crate::{
    Error, Result,
    data::{Condition, ContextColumns},
    device::Device,
    model::{ModelConfig, State},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};

/// The description in `model.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    settings: JepaSettings,
    genes: Vec<String>,
    target_sum: f32,
    begun: Option<String>,
    response: Option<SavedResponse>,
    /// Width of the bottleneck adapters of a model that was adapted by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bottleneck: Option<usize>,
}

/// What stands for each row of the arrays of phase B.
#[derive(Serialize, Deserialize)]
struct SavedResponse {
    effects: Vec<(String, Option<String>)>,
    contexts: Vec<Option<String>>,
    /// The columns of cells that contexts are levels of; not in files of earlier versions, which knew one column at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
    distances: Vec<Vec<f64>>,
    /// The training combinations that [`Response::beyond`] has a row for.
    combinations: Vec<Condition>,
    interactions: usize,
    /// The width of the kernel of [`Response::similar`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    similar: Option<f64>,
    transfers: usize,
    share: Share,
    /// Mean z of the control cells of each context that has some.
    centres: Vec<Vec<f32>>,
    with_remainder: bool,
    /// The context of each control cell that predictions start from.
    reference: Vec<Option<String>>,
    /// Not in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mean_shift: Option<Vec<f32>>,
    /// What is known by features alone; not in files of models that were given none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unseen: Option<SavedUnseen>,
}

/// What stands beside the arrays of [`Unseen`].
#[derive(Serialize, Deserialize)]
struct SavedUnseen {
    names: Vec<String>,
    own: f32,
    choice: FeatureChoice,
}

impl Jepa {
    /// The description and all arrays.
    pub(super) fn saved(&self) -> Result<State> {
        let response = self.response.as_ref().map(|response| SavedResponse {
            effects: response.measured.effects.clone(),
            contexts: response.measured.contexts.clone(),
            columns: response.measured.columns.names().to_vec(),
            distances: response.measured.distances.clone(),
            combinations: response.beyond.conditions.clone(),
            interactions: response.interactions.len(),
            similar: response.similar.as_ref().map(|similar| similar.width),
            transfers: response.transfers.len(),
            share: response.share,
            centres: response.measured.centres.rows().into_iter().map(|row| row.to_vec()).collect(),
            with_remainder: response.decoder.with_remainder(),
            reference: response.reference.contexts.clone(),
            mean_shift: response.mean_shift.as_ref().map(|shift| shift.to_vec()),
            unseen: response.unseen.as_ref().map(|Unseen { names, own, choice, .. }| SavedUnseen {
                names: names.clone(),
                own: *own,
                choice: choice.clone(),
            }),
        });
        let (settings, genes, target_sum) = (self.settings.clone(), self.genes.clone(), self.encoder.target_sum);
        let begun = self.begun.clone();
        let bottleneck = self.response.as_ref().and_then(|response| response.predictor.response.bottleneck());
        let mut state = State::new(&Description { settings, genes, target_sum, begun, response, bottleneck })
            .with_network("encoder", &self.encoder.backbone)?
            .with_network("standard", &self.encoder.standard)?
            .with_vector("means", &self.means.iter().copied().map(f64::from).collect());
        if let Some(response) = &self.response {
            let reference = &response.reference.data;
            state = state
                .with_network("predictor", &response.predictor)?
                .with_array("reference.counts", &reference.counts.to_dense().mapv(f64::from))
                .with_vector("reference.library", &reference.library_size.iter().copied().map(f64::from).collect());
            for (number, interaction) in response.interactions.iter().enumerate() {
                state = state.with_network(&format!("interaction.{number}"), interaction)?;
            }
            if let Some(similar) = &response.similar {
                state = state
                    .with_array("similar.keys", &similar.keys.mapv(f64::from))
                    .with_array("similar.values", &similar.values.mapv(f64::from));
            }
            for (number, predictor) in response.transfers.iter().enumerate() {
                state = state.with_network(&format!("transfer.{number}"), predictor)?;
            }
            state = response
                .decoder
                .add_to(state)?
                .with_array("beyond", &response.beyond.shifts.mapv(f64::from))
                .with_array("beyond.predicted", &response.beyond.predicted.mapv(f64::from));
            if let Some(unseen) = &response.unseen {
                state = state
                    .with_array("unseen.weights", &unseen.weights.mapv(f64::from))
                    .with_array("unseen.nearest", &unseen.nearest.mapv(f64::from));
            }
        }
        Ok(state)
    }

    /// The model that [`Self::saved`] described.
    ///
    /// # Errors
    /// Arrays that are missing or have other shapes than the description says.
    pub(super) fn restored(state: State, device: Device) -> Result<Self> {
        let Description { settings, genes, target_sum, begun, response: saved, bottleneck } = state.description()?;
        settings.validate()?;
        let (cpu, mut rng) = (Cpu::default(), ChaCha8Rng::seed_from_u64(0));
        let width = settings.encoder.width;
        let mut backbone = Backbone::new(&cpu, genes.len(), &settings.encoder, &mut rng)?;
        if let Some(bottleneck) = bottleneck {
            backbone.encoder.add_adapters(bottleneck, &mut rng)?;
        }
        state.fill("encoder", &mut backbone)?;
        let mut standard = identity(width)?;
        state.fill("standard", &mut standard)?;
        let encoder = Encoder { backbone, standard, target_sum, device };
        let means = state.vector("means", genes.len())?.iter().map(|&mean| mean as f32).collect();
        let response = saved.map(|saved| {
            let config = &settings.response;
            let centres = Array2::from_shape_vec((saved.contexts.len(), width), saved.centres.concat())
                .map_err(|_| Error::data("model.json is damaged: a centre of control cells has another width"))?;
            let n = saved.contexts.len();
            if saved.distances.len() != n || saved.distances.iter().any(|row| row.len() != n) {
                return Err(Error::data("model.json is damaged: there is not a distance for each two contexts"));
            }
            let told = (saved.effects, ContextColumns::new(saved.columns)?);
            let mean_shift = saved.mean_shift.map(Array1::from);
            if mean_shift.as_ref().is_some_and(|shift| shift.len() != width) {
                return Err(Error::data("model.json is damaged: the mean shift has another width than the embedding"));
            }
            let measured = Measured::restored(told, saved.contexts, saved.distances, centres);
            let (shape, columns) = (measured.shape(width, config), columns_of(&measured.genes, &genes));
            let mut filled = |name: &str| {
                let mut predictor = Predictor::new(&cpu, shape, columns.clone(), config, &mut rng)?;
                if let Some(bottleneck) = bottleneck {
                    predictor.response.add_adapter(bottleneck, &mut rng)?;
                }
                state.fill(name, &mut predictor)?;
                Ok::<_, Error>(predictor)
            };
            let predictor = filled("predictor")?;
            let transfers =
                (0..saved.transfers).map(|number| filled(&format!("transfer.{number}"))).collect::<Result<_>>()?;
            let decoder = Decoder::restored((width, config.decoder, genes.len()), saved.with_remainder, &state)?;
            let mut interactions = Vec::new();
            for number in 0..saved.interactions {
                let net = decoder.net().clone();
                let mut interaction = Interaction::new(&cpu, width, net, config, &mut rng)?;
                state.fill(&format!("interaction.{number}"), &mut interaction)?;
                interactions.push(interaction);
            }
            let similar = saved.similar.map(|kernel| restored_similar(kernel, width, &state)).transpose()?;
            let counts = state.array("reference.counts", Some(saved.reference.len()), Some(genes.len()))?;
            let library = state.vector("reference.library", saved.reference.len())?.mapv(|size| size as f32).to_vec();
            let counts = counts.mapv(|count| count as f32);
            let reference = Reference::from_parts(&counts, &genes, library, saved.reference)?;
            let of_combinations = |name: &str| {
                let array = state.array(name, Some(saved.combinations.len()), Some(width))?;
                Ok::<_, Error>(array.mapv(|shift| shift as f32))
            };
            let (shifts, predicted) = (of_combinations("beyond")?, of_combinations("beyond.predicted")?);
            let (beyond, share) = (Beyond { conditions: saved.combinations, shifts, predicted }, saved.share);
            let unseen = saved.unseen.map(|saved| restored_unseen(saved, measured.genes.len(), &state)).transpose()?;
            Ok::<_, Error>(Response {
                measured,
                predictor,
                transfers,
                interactions,
                similar,
                share,
                beyond,
                decoder,
                reference,
                mean_shift,
                unseen,
            })
        });
        let response = response.transpose()?;
        Ok(Self { settings, genes, encoder, means, response, begun })
    }
}

fn restored_similar(kernel: f64, width: usize, state: &State) -> Result<Similar> {
    let keys = state.array("similar.keys", None, Some(width))?.mapv(|v| v as f32);
    let values = state.array("similar.values", Some(keys.nrows()), Some(width))?.mapv(|v| v as f32);
    if !(kernel > 0.0 && kernel.is_finite()) {
        return Err(Error::data(
            "model.json is damaged: the width of the kernel of similar combinations is no positive number",
        ));
    }
    Ok(Similar { keys, values, width: kernel })
}

fn restored_unseen(saved: SavedUnseen, genes: usize, state: &State) -> Result<Unseen> {
    let names = saved.names.len();
    let array = |name: &str, columns| Ok::<_, Error>(state.array(name, Some(names), columns)?.mapv(|v| v as f32));
    let (weights, nearest) = (array("unseen.weights", Some(genes))?, array("unseen.nearest", None)?);
    if nearest.iter().any(|&number| number.is_nan() || number >= genes as f32) {
        return Err(Error::data("model.safetensors is damaged: unseen.nearest names a gene that is not there"));
    }
    Ok(Unseen { names: saved.names, weights, nearest, own: saved.own, choice: saved.choice })
}
