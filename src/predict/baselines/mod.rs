//! Predictors that every model must beat, each a few lines over [`Predictor`].
//!
//! | file | predictors |
//! |---|---|
//! | `floor` | [`NoChange`], [`ControlMean`]: nothing is known of the perturbation |
//! | `means` | [`Mean`], [`MeanDoubles`], [`MatchingMean`]: means of training effects |
//! | `additive` | [`Additive`], [`ScaledAdditive`]: the sum of the single effects |
//! | `additive_pca` | [`AdditivePca`]: that sum without its noise |
//! | `kernel_ridge` | [`KernelRidge`]: what similar pairs add to the sum |
//! | `nearest` | [`Nearest`]: the most similar perturbation |
//! | `similarity_weighted` | [`SimilarityWeighted`]: the effects in other contexts, near ones first |
//! | `doses` | [`DoseInterpolation`], [`DoseMean`]: the same name at other doses |
//! | `log_rate_sum` | [`LogRateSum`]: single effects added as log rates, and cells drawn from them |
//! | `ridge` | [`Ridge`]: one effect a gene, fitted to singles and combinations together |
//! | `linear` | [`LinearBaseline`]: gene and perturbation embeddings, which reach unseen genes |
//! | `latent_additive` | [`LatentAdditive`]: genes added in a learned latent space |
//! | `sums`, `sets` | what they share: sums over genes, distances between sets of genes |
//!
//! Sums are taken in f64. Where the data has contexts, "the effect of a gene" is its effect in the context of the
//! condition, or its mean over the other contexts where it was not trained in this one
//! ([`EffectTable::single`](crate::data::EffectTable::single)).

mod additive;
mod additive_pca;
mod doses;
mod floor;
mod kernel_ridge;
mod latent_additive;
mod linear;
mod log_rate_sum;
mod means;
mod nearest;
mod ridge;
mod sets;
mod similarity_weighted;
mod sums;

pub use additive::{Additive, ScaledAdditive};
pub use additive_pca::AdditivePca;
pub use doses::{DoseInterpolation, DoseMean};
pub use floor::{ControlMean, NoChange};
pub use kernel_ridge::KernelRidge;
pub use latent_additive::LatentAdditive;
pub use linear::LinearBaseline;
pub use log_rate_sum::LogRateSum;
pub use means::{MatchingMean, Mean, MeanDoubles};
pub use nearest::Nearest;
pub use ridge::Ridge;
pub use similarity_weighted::SimilarityWeighted;

use super::{Fitted, Hybrid, ModelPredictor, Predictor, Scgen, VaeArithmetic};
use crate::{
    Error, Result,
    data::{Condition, DataKind},
    model::{
        CountVae, VaeSettings, causal_vae::CausalVae, combination::CombinationModel, expression_flow::ExpressionFlow,
        jepa::Jepa, jepa_diffusion::JepaDiffusion, latent_diffusion::DiffusionModel, registry::check_renamed,
    },
};
use ndarray::Array1;

/// All baselines, in the order of the tables.
pub fn baselines() -> Vec<Box<dyn Predictor>> {
    vec![
        Box::new(NoChange),
        Box::new(ControlMean),
        Box::new(Mean),
        Box::new(MeanDoubles),
        Box::new(MatchingMean),
        Box::new(Additive),
        Box::new(ScaledAdditive),
        Box::new(AdditivePca),
        Box::new(SimilarityWeighted),
        Box::new(LogRateSum),
        Box::new(LinearBaseline::default()),
        Box::new(Ridge::default()),
        Box::new(Nearest),
        Box::new(KernelRidge::common()),
        Box::new(KernelRidge::per_gene()),
        Box::new(LatentAdditive::default()),
    ]
}

/// The baselines for unseen doses: beside the [`baselines`] where the split holds doses out, else only if they are named.
pub fn dose_baselines() -> Vec<Box<dyn Predictor>> {
    vec![Box::new(DoseInterpolation), Box::new(DoseMean)]
}

/// All predictors, in the order of the tables: the [`baselines`], then the models that take a training of their own.
pub fn models() -> Vec<Box<dyn Predictor>> {
    let vae = ModelPredictor::new::<CountVae>;
    let trained: [Box<dyn Predictor>; 11] = [
        Box::new(vae("vae", &[DataKind::Effects]).with_config::<CountVae>(VaeSettings::benchmark_effects())),
        Box::new(vae("vae_conditional", &[DataKind::Cells]).with_config::<CountVae>(VaeSettings::benchmark_cells())),
        Box::new(VaeArithmetic::default()),
        Box::new(Scgen::default()),
        Box::new(ModelPredictor::new::<CausalVae>("causal-vae", &[DataKind::Cells])),
        Box::new(ModelPredictor::new::<CombinationModel>("combination", &[DataKind::Effects, DataKind::Cells])),
        Box::new(ModelPredictor::new::<Jepa>("jepa", &[DataKind::Cells])),
        Box::new(Hybrid::default()),
        Box::new(ModelPredictor::new::<JepaDiffusion>("jepa-diffusion", &[DataKind::Cells])),
        Box::new(ModelPredictor::new::<DiffusionModel>("diffusion", &[DataKind::Cells, DataKind::Effects])),
        Box::new(ModelPredictor::new::<ExpressionFlow>("expression-flow", &[DataKind::Cells])),
    ];
    baselines().into_iter().chain(trained).collect()
}

/// The predictor of this name among all [`models`].
///
/// # Errors
/// There is none; the message lists the names.
pub fn predictor(name: &str) -> Result<Box<dyn Predictor>> {
    let mut all: Vec<Box<dyn Predictor>> = models().into_iter().chain(dose_baselines()).collect();
    if let Some(place) = all.iter().position(|predictor| predictor.name() == name) {
        return Ok(all.swap_remove(place));
    }
    check_renamed(name)?;
    let names: Vec<&str> = all.iter().map(|predictor| predictor.name()).collect();
    Err(Error::config(format!("there is no model {name:?}; there are {}", names.join(", "))))
}

/// A fitted predictor that is a function of the condition.
struct Answer<F>(F);

impl<F: Fn(&Condition) -> Result<Array1<f64>>> Fitted for Answer<F> {
    fn effect(&self, condition: &Condition) -> Result<Array1<f32>> {
        (self.0)(condition).map(|effect| effect.mapv(|value| value as f32))
    }
}

/// Makes a function of the condition a fitted predictor.
fn answer(effect: impl Fn(&Condition) -> Result<Array1<f64>> + 'static) -> Result<Box<dyn Fitted>> {
    Ok(Box::new(Answer(effect)))
}
