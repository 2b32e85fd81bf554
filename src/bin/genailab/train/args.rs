//! The command line of `genailab train`.

use crate::{
    options::{DataArgs, GenesArg},
    sources::DataFiles,
};
use genailab::{device::Device, model::HoldOut};
use std::path::PathBuf;

/// Train a model on a cells or an effects dataset
///
/// A file with one cell per row and counts is a cells dataset; one with one perturbation per row and uns["effect"] is an
/// effects dataset.
///
/// Writes model.json and model.safetensors (the model), last.safetensors (the checkpoint of the last epoch, for
/// --resume; models that consist of several trainings keep theirs in folders of their own), training.json, split.json,
/// metrics.json, history.jsonl and TensorBoard events into --out; for a jepa of --phase a also report.html and figures.
/// `genailab predict` and `genailab embed` use the model.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) data: DataFiles,
    /// Which model; `genailab doctor` lists them with what they predict
    #[arg(long, value_name = "NAME", default_value = "vae")]
    pub(super) model: String,
    /// Folder for the model; made if it is not there. A finished training in it is replaced
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Settings: a TOML file with the model's tables (mostly [model] and [train]; jepa: [encoder], [pretraining] and
    /// [response]; world-model: [courses], [model] and [train]; static-dynamic: [courses], [profiles], [flow], [profiles_train] and [train]; mean-residual: [metadata], [mean], [residual], [train] and [flow_train]; diffusion: [effects], [cells], [vae] and [train]; ebm: [space], [model], [train] and [vae]; expression-flow:
    /// [model], [modules], [sampling] and [train]) and the
    /// tables [split] and [qc]; training.json of a training shows what can be set
    #[arg(long, value_name = "TOML")]
    pub(super) config: Option<PathBuf>,
    /// Size of a model that comes in sizes (jepa): tiny, small, medium, large, or auto, which is that of the data as far as this
    /// machine is meant for it (see `genailab doctor`); --config changes single settings of it [default: by the number of cells]
    #[arg(long, value_name = "SIZE")]
    pub(super) preset: Option<String>,
    /// jepa: `a` trains the encoder alone, without labels, and reports what its embeddings tell; `ab` then trains predictor and
    /// decoder with it; `b` does so from an encoder of random weights, for comparison, or from that of --from [default: ab]
    #[arg(long, value_name = "PHASE")]
    pub(super) phase: Option<String>,
    /// jepa, jepa-diffusion, causal-vae, world-model, static-dynamic: the column of cells that names their context (cell type,
    /// donor, stimulation). `genailab predict` then predicts for one of these contexts or (jepa, jepa-diffusion, causal-vae) for a
    /// new one from its control cells. jepa, jepa-diffusion: may be given several times (--context cell_type --context donor), in
    /// any order; a context is then a combination of levels, and each level is learned by itself
    #[arg(long, value_name = "COLUMN")]
    pub(super) context: Vec<String>,
    /// vae: a column of cells that is a condition beside the perturbation (cell type, donor, time); may be given several times.
    /// Text is categorical, numbers are continuous where there are more than 10 of them; COLUMN:categorical and COLUMN:continuous
    /// say it. `genailab predict --at COLUMN=VALUE` asks for one value
    #[arg(long, value_name = "COLUMN")]
    pub(super) covariate: Vec<String>,
    /// world-model, static-dynamic: the column of cells that gives the time at which each was sampled [default: time, time_point, timepoint]
    #[arg(long, value_name = "COLUMN")]
    pub(super) time_column: Option<String>,
    /// world-model, static-dynamic: the column that says which cells of a perturbation are one course, where its dose changes in time [default:
    /// course, if it is there; else cells of one dose]
    #[arg(long, value_name = "COLUMN")]
    pub(super) course_column: Option<String>,
    /// static-dynamic: a file of profiles without a time (bulk samples, cells that were measured once), trained on beside the courses of
    /// --data; may be given several times. Genes and perturbations are matched by name
    #[arg(long = "static", value_name = "FILE")]
    pub(super) static_files: Vec<PathBuf>,
    /// mean-residual: the columns of obs that expression is predicted from. Text is categorical, numbers are continuous where there
    /// are more than 10 of them; COLUMN:categorical and COLUMN:continuous say it
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub(super) metadata: Vec<String>,
    /// mean-residual: what is held out to judge the model by, and what its folds divide: single rows, or all rows of a combination of
    /// categorical values [default: rows]
    #[arg(long, value_name = "WHAT")]
    pub(super) hold_out: Option<HeldOutArg>,
    /// jepa: folder of a jepa that was trained on other data: begin with its encoder. Genes are matched by name, and those that
    /// this data does not have are hidden. Trains phase b, unless --phase says ab or a
    #[arg(long, value_name = "DIR")]
    pub(super) from: Option<PathBuf>,
    /// Passes over the training data, of each phase; the later trainings of a jepa make at most N passes too [default: the configuration's]
    #[arg(long, value_name = "N")]
    pub(super) epochs: Option<usize>,
    /// Seed of the split, the weights and the training [default: the configuration's]
    #[arg(long, value_name = "S")]
    pub(super) seed: Option<u64>,
    /// Where to compute: auto, cpu, cuda, cuda:N, metal, vulkan; auto follows GENAILAB_DEVICE
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// Go on from the last checkpoint in --out, with the other arguments as they were; only --epochs may differ
    #[arg(long)]
    pub(super) resume: bool,
    /// --phase a: the column of obs that embeddings are probed for, and that colours the pictures [default: the
    /// perturbation]
    #[arg(long, value_name = "COLUMN")]
    pub(super) label: Option<String>,
    /// --phase a: folder of a VAE that was trained on the same cells, to compare its latent with
    #[arg(long, value_name = "DIR")]
    pub(super) compare_vae: Option<PathBuf>,
    #[command(flatten)]
    pub(super) genes: GenesArg,
    #[command(flatten)]
    pub(super) columns: DataArgs,
}

/// [`HoldOut`] as an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum HeldOutArg {
    /// Single rows.
    Rows,
    /// Combinations of categorical values.
    Combinations,
}

impl HeldOutArg {
    pub fn into_hold_out(self) -> HoldOut {
        match self {
            Self::Rows => HoldOut::Rows,
            Self::Combinations => HoldOut::Combinations,
        }
    }
}
