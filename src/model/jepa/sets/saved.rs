//! A saved JEPA of level 1 or 2: its description, and its arrays beside the networks' weights.

use super::{
    Choice, Level, SetsConfig, SetsJepa,
    cells::Latent,
    decoder::Decoder,
    members::{Member, Members},
    net::SetNet,
    offsets::Offsets,
    reference::Reference,
    shifts::{GeneTable, Shifts},
};
use crate::{
    Error, Result,
    model::{
        folder::{self, Header},
        jepa::{CellJepa, Reader},
    },
    nn::{Checkpoint, HostTensor, Snapshot},
};
use dfdx::prelude::Cpu;
use ndarray::{Array1, Array2};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Kinds of saved models, by level.
const KINDS: [&str; 2] = ["jepa-sets", "jepa-pairs"];

/// The content of `model.json`.
#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(flatten)]
    header: Header,
    config: SetsConfig,
    genes: Vec<String>,
    target_sum: f32,
    choice: Choice,
    /// s of each network.
    factors: Vec<f64>,
    /// Gene and context of each row of `shifts`.
    shifts: Vec<(String, Option<String>)>,
    shift_scale: f64,
    /// Whether the decoder's library counts genes that are not modelled.
    with_remainder: bool,
    offsets: Option<SavedOffsets>,
    /// The context of each control cell that predictions start from.
    contexts: Vec<Option<String>>,
}

/// What stands for each row of the offsets' arrays.
#[derive(Serialize, Deserialize)]
struct SavedOffsets {
    controls: Vec<Option<String>>,
    genes: Vec<(String, Option<String>)>,
    factor: f64,
}

fn kind(config: &SetsConfig) -> &'static str {
    match config.level {
        Level::Sets { .. } => KINDS[0],
        Level::Pairs(_) => KINDS[1],
    }
}

impl SetsJepa {
    /// Writes the model to a folder: `model.json` and `model.safetensors`, with control cells of the training that
    /// predictions start from. Arrays are rounded to single precision.
    ///
    /// # Errors
    /// A folder that cannot be written; nothing is left half-written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let (jepa, shifts) = (&self.latent.jepa, self.shifts.table());
        let offsets = self.offsets.as_ref().map(|offsets| SavedOffsets {
            controls: offsets.controls.keys().cloned().collect(),
            genes: offsets.genes.names(),
            factor: offsets.factor,
        });
        folder::write_description(
            dir,
            &Saved {
                header: Header::of(kind(&self.config)),
                config: self.config.clone(),
                genes: jepa.genes.clone(),
                target_sum: jepa.target_sum,
                choice: self.members.choice,
                factors: self.members.members.iter().map(|member| member.factor).collect(),
                shifts: shifts.names(),
                shift_scale: self.shifts.scale(),
                with_remainder: self.decoder.with_remainder(),
                offsets,
                contexts: self.reference.contexts.clone(),
            },
        )?;
        let mut arrays = Snapshot::default();
        let vector = |values: &Array1<f32>| host(values.clone().insert_axis(ndarray::Axis(0)));
        arrays.insert("latent.mean", vector(&self.latent.mean));
        arrays.insert("latent.scale", vector(&self.latent.scale));
        arrays.insert("shifts", host(shifts.vectors().mapv(|v| v as f32)));
        arrays.insert("reference.counts", host(self.reference.data.counts.to_dense()));
        arrays.insert("reference.library", vector(&Array1::from(self.reference.data.library_size.clone())));
        if let Some(offsets) = &self.offsets {
            let mut controls = Array2::zeros((0, self.genes));
            for offset in offsets.controls.values() {
                controls.push_row(offset.mapv(|v| v as f32).view()).expect("an offset has a value a gene");
            }
            arrays.insert("offsets.controls", host(controls));
            arrays.insert("offsets.genes", host(offsets.genes.vectors().mapv(|v| v as f32)));
        }
        let mut file = Checkpoint::default();
        file.add("arrays", arrays);
        file.add("encoder", jepa.snapshot()?);
        file.add("decoder", self.decoder.snapshot()?);
        for (number, member) in self.members.members.iter().enumerate() {
            file.add(&format!("member.{number}"), Snapshot::of(&member.net)?);
        }
        file.write(&folder::weights(dir))
    }

    /// Reads a model back from its folder.
    ///
    /// # Errors
    /// No model there, one of another kind or version, arrays that do not fit.
    pub fn load(dir: &Path) -> Result<Self> {
        let found = folder::saved_kind(dir)?;
        let kind = KINDS.into_iter().find(|kind| *kind == found).unwrap_or(KINDS[0]);
        let saved: Saved = folder::read_description(dir, kind)?;
        let path = folder::finished_weights(dir)?;
        let mut file = Checkpoint::read(&path)?;
        Self::parts(saved, &mut file).map_err(|e| e.at(path.display()))
    }

    fn parts(saved: Saved, file: &mut Checkpoint) -> Result<Self> {
        let (arrays, genes) = (file.take("arrays"), saved.genes.len());
        let array = |name: &str, (rows, columns): (usize, usize)| -> Result<Array2<f32>> {
            let wrong = || Error::data(format!("there is no array `{name}` that fits the description; train again"));
            let tensor =
                arrays.tensors().get(name).filter(|tensor| tensor.shape == [rows, columns]).ok_or_else(wrong)?;
            Array2::from_shape_vec((rows, columns), tensor.values.clone()).map_err(|_| wrong())
        };
        let vector = |name: &str, n: usize| array(name, (1, n)).map(|array| array.row(0).to_owned());
        let width = saved.config.cell.width;
        let jepa = CellJepa::restored(saved.config.cell.clone(), saved.genes, saved.target_sum, &file.take("encoder"))?;
        let averages = saved.config.cell.objective.has_teacher() && saved.config.cell.teacher.ema.is_some();
        let latent = Latent {
            reader: if averages { Reader::Teacher } else { Reader::Student },
            mean: vector("latent.mean", width)?,
            scale: vector("latent.scale", width)?,
            jepa,
        };
        let table = |name: &str, names: &[(String, Option<String>)], width: usize| {
            Ok::<_, Error>(GeneTable::from_rows(names, &array(name, (names.len(), width))?.mapv(f64::from)))
        };
        let shifts = Shifts::from_parts(table("shifts", &saved.shifts, width)?, saved.shift_scale);
        let mut members = Vec::new();
        for (number, &factor) in saved.factors.iter().enumerate() {
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let mut net = SetNet::untrained(&Cpu::seed_from_u64(0), width, shifts.len(), &saved.config, &mut rng)?;
            file.take(&format!("member.{number}")).restore(&mut net)?;
            members.push(Member { net, factor });
        }
        let members = Members { members, choice: saved.choice, histories: Vec::new() };
        let decoder =
            Decoder::restored(width, saved.config.decoder, genes, saved.with_remainder, &file.take("decoder"))?;
        let offsets = saved.offsets.map(|offsets| {
            let rows = array("offsets.controls", (offsets.controls.len(), genes))?.mapv(f64::from);
            let controls = offsets.controls.into_iter().zip(rows.rows().into_iter().map(|row| row.to_owned()));
            let table = table("offsets.genes", &offsets.genes, genes)?;
            Ok::<_, Error>(Offsets { controls: controls.collect(), genes: table, factor: offsets.factor })
        });
        let counts = array("reference.counts", (saved.contexts.len(), genes))?;
        let library = vector("reference.library", saved.contexts.len())?;
        Ok(Self {
            reference: Reference::from_parts(&counts, &latent.jepa.genes, library.to_vec(), saved.contexts)?,
            latent,
            shifts,
            members,
            decoder,
            offsets: offsets.transpose()?,
            drawing: saved.config.drawing,
            genes,
            config: saved.config,
        })
    }
}

fn host(array: Array2<f32>) -> HostTensor {
    let (rows, columns) = array.dim();
    HostTensor { shape: vec![rows, columns], values: array.iter().copied().collect() }
}
