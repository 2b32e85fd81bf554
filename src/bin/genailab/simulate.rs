//! `genailab simulate`: counts with a known truth, as an `.h5ad` file.

use crate::{options::say, output::check_output_file};
use genailab::{
    Error, Result,
    data::{
        AnnData, BulkConfig, BulkSimulation, Dataset, Effects, OpenOptions, Simulation, SimulationConfig,
        TimeCourseConfig, TimeCourseSimulation, is_effects,
    },
};
use std::path::PathBuf;

/// Simulate perturbed cells whose true expression is known.
///
/// Negative binomial counts from gene programs, cell states, lanes, library sizes and sparse perturbation effects, with
/// doubles of every interaction class of Norman 2019. The file holds the truth in `uns["truth"]`: expected counts and
/// their variances under each perturbation at a library size of 10,000, and the class of each double.
///
/// With --cell-types how strongly a cell responds depends on its own state, and each type adds a part of its own (the
/// equations are in the documentation of data::simulate); the types are in obs["cell_type"], so that bench --split
/// context:cell_type holds one out, and uns["truth"] tells the expected counts in each. With --paired uns["paired"] holds
/// what single control cells are expected to be under every perturbation, which no experiment can measure.
///
/// With --time-points N cells are drawn at N times of a course whose gene programs follow known non-linear dynamics, pushed by the
/// perturbation: obs has `time`, `dose` and `course` (on; pulse: the first half; late: the second half), and `train --model
/// world-model` learns from it.
///
/// With --bulk samples of bulk RNA-seq are drawn whose expression depends on their metadata: obs has `tissue`, `disease`, `sex`,
/// `batch` and `age`, some genes have interactions of tissue and disease and of age and disease, and around that mean there is a
/// residual of low rank. The layer `true_mean` and uns["bulk_truth"] hold the truth; `train --model mean-residual` learns from it.
///
/// With --effects the perturbations do what a real effects dataset says (one row per perturbation, `uns["effect"]`).
#[derive(clap::Args)]
pub struct Args {
    /// Effects dataset (.h5ad) to take perturbations, genes, effects and cell numbers from.
    #[arg(long, value_name = "FILE")]
    effects: Option<PathBuf>,
    /// Draw samples of bulk RNA-seq with metadata in place of perturbed cells.
    #[arg(long, conflicts_with_all = ["effects", "cell_types", "triples", "paired", "time_points", "density", "doses"])]
    bulk: bool,
    /// Number of cells, or of bulk samples [default: 6000; 600 with --bulk; 12000 with --time-points; 91205 with --effects, as in Norman 2019].
    #[arg(long, value_name = "N")]
    cells: Option<usize>,
    /// Number of genes [default: 1000; 500 with --bulk; all of the file with --effects, else its N most affected ones].
    #[arg(long, value_name = "N")]
    genes: Option<usize>,
    /// The same seed gives the same file.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Fraction of counts that are not zero, about [default: 0.25 at 1000 genes, 0.13 at 5000; 0.12 with --effects].
    #[arg(long, value_name = "FRACTION")]
    density: Option<f64>,
    /// Number of cell types, equally frequent.
    #[arg(long, value_name = "N", default_value_t = 1)]
    cell_types: usize,
    /// Number of triples, each of a double and another single.
    #[arg(long, value_name = "N", default_value_t = 0)]
    triples: usize,
    /// Number of control cells whose expected counts under every perturbation are stored.
    #[arg(long, value_name = "N", default_value_t = 0)]
    paired: usize,
    /// Number of times at which cells are sampled, time 0 included: a time course.
    #[arg(long, value_name = "N", conflicts_with_all = ["effects", "cell_types", "triples", "paired"])]
    time_points: Option<usize>,
    /// Doses of each perturbation, as NAME@DOSE: singles whose effects follow Hill curves, k and h of which are stored with the
    /// truth; with --time-points doses of the courses [default there: 1].
    #[arg(long, value_name = "D,…", value_delimiter = ',')]
    doses: Vec<f64>,
    /// File to write (.h5ad).
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    check_output_file(&args.out)?;
    if args.bulk {
        return bulk(args);
    }
    if let Some(n_times) = args.time_points {
        return time_course(args, n_times);
    }
    let extra = |usual| SimulationConfig {
        n_cell_types: args.cell_types,
        n_triples: args.triples,
        n_paired: args.paired,
        doses: args.doses.clone(),
        ..usual
    };
    let simulation = match &args.effects {
        Some(file) => {
            let opened = AnnData::open(file)?;
            if !is_effects(&opened) {
                return Err(Error::config(format!(
                    "{}: --effects needs an effects dataset (one row per perturbation, uns[\"effect\"]); this is none",
                    file.display()
                )));
            }
            let effects = Effects::from_anndata(&opened, &OpenOptions::default())?;
            let usual = extra(SimulationConfig::like_norman());
            let config = SimulationConfig {
                n_cells: args.cells.unwrap_or(usual.n_cells),
                n_genes: args.genes.unwrap_or(effects.genes.len()),
                density: args.density.unwrap_or(usual.density),
                seed: args.seed,
                ..usual
            };
            Simulation::from_effects(&effects, &config).map_err(|error| error.at(file.display()))?
        }
        None => {
            let usual = extra(SimulationConfig::default());
            let n_genes = args.genes.unwrap_or(usual.n_genes);
            Simulation::new(&SimulationConfig {
                n_cells: args.cells.unwrap_or(usual.n_cells),
                n_genes,
                density: args.density.unwrap_or_else(|| SimulationConfig::usual_density(n_genes)),
                seed: args.seed,
                // A screen of doses is one of singles.
                doubles_per_class: if args.doses.is_empty() { usual.doubles_per_class } else { 0 },
                ..usual
            })?
        }
    };
    simulation.write(&args.out)?;
    say(summary(&simulation.dataset))?;
    if let Some(paired) = &simulation.paired {
        say(format_args!("{} control cells with their expected counts under each perturbation", paired.cells.len()))?;
    }
    say(format_args!("wrote {}", args.out.display()))
}

fn bulk(args: &Args) -> Result<()> {
    let usual = BulkConfig::default();
    let config = BulkConfig {
        n_samples: args.cells.unwrap_or(usual.n_samples),
        n_genes: args.genes.unwrap_or(usual.n_genes),
        seed: args.seed,
        ..usual
    };
    let simulation = BulkSimulation::new(&config)?;
    simulation.write(&args.out)?;
    let [tissues, diseases, batches] = config.levels;
    say(format_args!(
        "{} bulk samples x {} genes; {tissues} tissues, {diseases} diseases, 2 sexes, {batches} batches, age",
        config.n_samples, config.n_genes
    ))?;
    say(format_args!("wrote {}", args.out.display()))
}

fn time_course(args: &Args, n_times: usize) -> Result<()> {
    let usual = TimeCourseConfig::default();
    let n_genes = args.genes.unwrap_or(usual.base.n_genes);
    let base = SimulationConfig {
        n_cells: args.cells.unwrap_or(usual.base.n_cells),
        n_genes,
        density: args.density.unwrap_or_else(|| SimulationConfig::usual_density(n_genes)),
        seed: args.seed,
        ..usual.base
    };
    let doses = if args.doses.is_empty() { usual.doses } else { args.doses.clone() };
    let simulation = TimeCourseSimulation::new(&TimeCourseConfig { base, n_times, doses, ..usual })?;
    simulation.write(&args.out)?;
    say(summary(&simulation.dataset))?;
    say(format_args!("{n_times} times (0 to {}), {} courses", n_times - 1, simulation.n_courses()))?;
    say(format_args!("wrote {}", args.out.display()))
}

fn summary(data: &Dataset) -> String {
    let (cells, genes) = (data.counts.n_cells(), data.counts.n_genes());
    let of_size = |n: usize| data.perturbations.iter().filter(|perturbation| perturbation.genes().len() == n).count();
    let triples = match of_size(3) {
        0 => String::new(),
        n => format!("{n} triples, "),
    };
    format!(
        "{cells} cells x {genes} genes, {:.1} % not zero; {} singles, {} doubles, {triples}control",
        100.0 * data.counts.nnz() as f64 / (cells as f64 * genes as f64),
        of_size(1),
        of_size(2)
    )
}
