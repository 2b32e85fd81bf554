//! `genailab enrich`: the gene sets that each perturbation of a dataset touches.

use crate::{
    options::{DataArgs, say},
    output::{check_output_file, csv_field},
    provenance,
    sources::DataFiles,
};
use genailab::{
    Error, Result,
    data::{Dataset, GeneSets, MeasuredSets, Opened, Perturbation, TargetSum, normalize::log_normalize},
    eval::{
        RankSum,
        enrichment::{SIGNIFICANT, most_changed, over_representation, rank_enrichment, running_sum, testable},
        rank_sum_test,
    },
    model::NORMALISED_TOTAL,
    show::{Align, Grid},
    train::write_atomically,
};
use std::{fmt::Write, path::PathBuf};

/// Find the gene sets (pathways) that perturbations raise or lower
///
/// Of a cells dataset, genes are ranked by the z score of the Wilcoxon test against control cells, and the changed genes are those
/// with an adjusted p below 0.05. Of an effects dataset, genes are ranked by the effect, and the 100 genes of largest absolute
/// effect (at most a tenth of all) stand for the changed ones.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataFiles,
    /// Gene sets in GMT form: a line a set, NAME, DESCRIPTION and genes by tabs
    #[arg(long, value_name = "GMT")]
    gene_sets: PathBuf,
    /// The perturbations to look at, by comma: A+B,C [default: all]
    #[arg(long, value_name = "A+B,C", value_delimiter = ',')]
    perturbations: Vec<String>,
    /// Sets to print of each perturbation, the most significant first
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
    /// Write the table of all tested sets to this CSV file
    #[arg(long, value_name = "CSV")]
    out: Option<PathBuf>,
    #[command(flatten)]
    columns: DataArgs,
}

/// What is known of a perturbation's genes.
struct Ranked {
    perturbation: Perturbation,
    /// One a gene: the higher, the more it is raised.
    scores: Vec<f32>,
    /// Columns of the changed genes.
    changed: Vec<usize>,
}

/// One set of one perturbation.
struct Line {
    perturbation: String,
    set: String,
    size: usize,
    z: f64,
    p_adjusted: f64,
    running_sum: Option<f64>,
    hits: usize,
    expected: f64,
    hits_p_adjusted: f64,
}

pub fn run(args: &Args) -> Result<()> {
    args.out.as_deref().map_or(Ok(()), check_output_file)?;
    provenance::reads(&args.gene_sets)?;
    let sets = GeneSets::open(&args.gene_sets)?;
    let wanted: Vec<Perturbation> = args.perturbations.iter().map(|name| name.parse()).collect::<Result<_>>()?;
    let (genes, ranked) = match args.columns.open(&args.data)? {
        Opened::Effects(data) => {
            let all = data.perturbations.into_iter().zip(data.values.rows());
            let ranked = all.map(|(perturbation, effect)| Ranked {
                scores: effect.to_vec(),
                changed: most_changed(&effect.to_vec()),
                perturbation,
            });
            (data.genes.names, ranked.collect())
        }
        Opened::Cells(data) => (data.gene_names().to_vec(), of_cells(&data)?),
    };
    let ranked = select(ranked, &wanted)?;
    let measured = testable(&sets, &genes)?;
    for note in &measured.notes {
        say(format_args!("note: {note}"))?;
    }
    let mut lines = Vec::new();
    for perturbation in &ranked {
        let mut of = test(perturbation, &measured);
        if of.is_empty() {
            say(format_args!("note: {} changes no gene, or all alike", perturbation.perturbation))?;
        }
        of.sort_by(|a, b| a.p_adjusted.total_cmp(&b.p_adjusted).then(b.z.abs().total_cmp(&a.z.abs())));
        lines.extend(of);
    }
    crate::print(&format!("{}\n", table(&lines, args.top)?))?;
    if let Some(path) = &args.out {
        write_atomically(path, csv(&lines).as_bytes())?;
        say(format_args!("all {} rows: {}", lines.len(), path.display()))?;
    }
    Ok(())
}

/// Wilcoxon's z of every perturbation of enough cells.
fn of_cells(data: &Dataset) -> Result<Vec<Ranked>> {
    let expression = log_normalize(data, TargetSum::Fixed(NORMALISED_TOTAL))?;
    let control = data
        .perturbations
        .iter()
        .position(Perturbation::is_control)
        .ok_or_else(|| Error::data("there is no control cell to compare perturbations with"))? as u32;
    let test = rank_sum_test(&expression, &data.labels, control, RankSum::default())?;
    Ok(test
        .groups
        .iter()
        .enumerate()
        .map(|(row, &group)| Ranked {
            perturbation: data.perturbations[group as usize].clone(),
            scores: test.scores.row(row).iter().map(|&z| z as f32).collect(),
            changed: (0..test.p_adjusted.ncols()).filter(|&gene| test.p_adjusted[[row, gene]] < SIGNIFICANT).collect(),
        })
        .collect())
}

/// Those that are wanted, in that order; all if none is named.
fn select(mut ranked: Vec<Ranked>, wanted: &[Perturbation]) -> Result<Vec<Ranked>> {
    if wanted.is_empty() {
        return Ok(ranked);
    }
    wanted
        .iter()
        .map(|name| {
            let place = ranked.iter().position(|r| r.perturbation == *name).ok_or_else(|| {
                let known: Vec<String> = ranked.iter().take(12).map(|r| r.perturbation.to_string()).collect();
                Error::config(format!(
                    "the data holds no perturbation {name} of two cells or more (or it is asked for twice); it holds {}, …",
                    known.join(", ")
                ))
            })?;
            Ok(ranked.swap_remove(place))
        })
        .collect()
}

fn test(ranked: &Ranked, sets: &MeasuredSets) -> Vec<Line> {
    let Some(rank) = rank_enrichment(&ranked.scores, sets) else { return Vec::new() };
    let over = over_representation(&ranked.changed, sets);
    (0..sets.names.len())
        .map(|set| Line {
            perturbation: ranked.perturbation.to_string(),
            set: sets.names[set].clone(),
            size: sets.columns[set].len(),
            z: rank.z[set],
            p_adjusted: rank.p_adjusted[set],
            running_sum: running_sum(&ranked.scores, &sets.columns[set]).map(|(score, _)| score),
            hits: over.hits[set],
            expected: over.expected[set],
            hits_p_adjusted: over.p_adjusted[set],
        })
        .collect()
}

/// The most significant sets of each perturbation, `top` at most.
fn table(lines: &[Line], top: usize) -> Result<Grid> {
    let significant = lines.iter().filter(|line| line.p_adjusted < SIGNIFICANT).count();
    let caption = format!(
        "Gene sets by rank (z, ES) and among the changed genes; {significant} of {} tested sets are significant by rank \
         (adjusted p < {SIGNIFICANT}).",
        lines.len()
    );
    let mut grid = Grid::new(
        caption,
        [
            ("perturbation", Align::Left),
            ("gene set", Align::Left),
            ("genes", Align::Right),
            ("z", Align::Right),
            ("adj. p", Align::Right),
            ("ES", Align::Right),
            ("changed", Align::Right),
            ("expected", Align::Right),
            ("adj. p", Align::Right),
        ],
    );
    for of_one in lines.chunk_by(|a, b| a.perturbation == b.perturbation) {
        for line in of_one.iter().take(top).filter(|l| l.p_adjusted < SIGNIFICANT || l.hits_p_adjusted < SIGNIFICANT) {
            grid.push([
                line.perturbation.clone(),
                line.set.clone(),
                line.size.to_string(),
                format!("{:+.1}", line.z),
                format!("{:.1e}", line.p_adjusted),
                line.running_sum.map_or("-".to_owned(), |score| format!("{score:+.2}")),
                line.hits.to_string(),
                format!("{:.1}", line.expected),
                format!("{:.1e}", line.hits_p_adjusted),
            ])?;
        }
    }
    Ok(grid)
}

fn csv(lines: &[Line]) -> String {
    let mut text =
        "perturbation,gene_set,genes,rank_z,rank_p_adjusted,running_sum,changed,expected,changed_p_adjusted\n"
            .to_owned();
    for line in lines {
        writeln!(
            text,
            "{},{},{},{},{:e},{},{},{},{:e}",
            csv_field(&line.perturbation),
            csv_field(&line.set),
            line.size,
            line.z,
            line.p_adjusted,
            line.running_sum.map_or(String::new(), |score| score.to_string()),
            line.hits,
            line.expected,
            line.hits_p_adjusted
        )
        .expect("a String takes everything");
    }
    text
}
