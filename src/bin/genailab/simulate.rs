//! `genailab simulate`: counts with a known truth, as an `.h5ad` file.

use genailab::{
    Result,
    data::{Dataset, Effects, Simulation, SimulationConfig},
};
use std::path::PathBuf;

/// Simulate perturbed cells whose true expression is known.
///
/// Negative binomial counts from gene programs, cell states, lanes, library sizes and sparse perturbation effects, with
/// doubles of every interaction class of Norman 2019. The file holds the truth in `uns["truth"]`: expected counts and
/// their variances under each perturbation at a library size of 10,000, and the class of each double.
///
/// With --effects the perturbations do what a real effects dataset says (one row a perturbation, `uns["effect"]`).
#[derive(clap::Args)]
pub struct Args {
    /// Effects dataset (.h5ad) to take perturbations, genes, effects and cell numbers from.
    #[arg(long, value_name = "FILE")]
    effects: Option<PathBuf>,
    /// Number of cells [default: 6000; 91205 with --effects, as in Norman 2019].
    #[arg(long, value_name = "N")]
    cells: Option<usize>,
    /// Number of genes [default: 1000; all of the file with --effects, else its N most affected ones].
    #[arg(long, value_name = "N")]
    genes: Option<usize>,
    /// The same seed gives the same file.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Fraction of counts that are not zero, about [default: 0.25 at 1000 genes, 0.13 at 5000; 0.12 with --effects].
    #[arg(long, value_name = "FRACTION")]
    density: Option<f64>,
    /// File to write (.h5ad).
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let simulation = match &args.effects {
        Some(file) => {
            let effects = Effects::open(file)?;
            let usual = SimulationConfig::like_norman();
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
            let usual = SimulationConfig::default();
            let n_genes = args.genes.unwrap_or(usual.n_genes);
            Simulation::new(&SimulationConfig {
                n_cells: args.cells.unwrap_or(usual.n_cells),
                n_genes,
                density: args.density.unwrap_or_else(|| SimulationConfig::usual_density(n_genes)),
                seed: args.seed,
                ..usual
            })?
        }
    };
    simulation.write(&args.out)?;
    println!("{}", summary(&simulation.dataset));
    println!("wrote {}", args.out.display());
    Ok(())
}

fn summary(data: &Dataset) -> String {
    let (cells, genes) = (data.counts.n_cells(), data.counts.n_genes());
    let of_size = |n: usize| data.perturbations.iter().filter(|perturbation| perturbation.genes().len() == n).count();
    format!(
        "{cells} cells x {genes} genes, {:.1} % not zero; {} singles, {} doubles, control",
        100.0 * data.counts.nnz() as f64 / (cells as f64 * genes as f64),
        of_size(1),
        of_size(2)
    )
}
