//! `genailab screen`: which perturbation would bring a cell to a wanted state?

use crate::{
    options::{DataArgs, say},
    output::{OutputFolder, csv_field},
    provenance,
    sources::DataFiles,
};
use genailab::{
    Error, Result,
    bench::screen::{Candidates, Closeness, Hit, Retrieved, Search, retrieve, screen},
    data::{EffectTable, Effects, Perturbation},
    model::combination::{CombinationConfig, CombinationModel},
    show::{Align, Grid, Report, Verdict, ranked},
    train::{Run, write_atomically},
};
use rand::{SeedableRng, seq::SliceRandom};
use serde_json::json;
use std::{collections::HashMap, fmt::Write, path::PathBuf};

/// Doubles that are left out of training to see at which rank they come back; a fifth of them.
const LEFT_OUT: usize = 5;
/// Rows of the table that the report shows.
const SHOWN: usize = 40;

/// Rank perturbations by how near their predicted effect comes to a wanted one
///
/// The combination model is trained on --data; every gene that was perturbed there alone, and every pair of them, is a
/// candidate. The wanted effect is that of a perturbation of --data (which is then left out of training), the only row,
/// or a named one, of another effects file, or the difference between the cells of a perturbation and control in a cells
/// file. Genes are matched by name.
///
/// To say how far the answer is to be trusted, a fifth of the measured doubles is left out, and the effect of each is
/// the target of a screen: the report gives the rank at which the double is found, and its rank if effects are added.
///
/// The expression of a perturbed gene is the label of its perturbation, and a state from elsewhere carries no label: the
/// columns of all genes that a candidate or the target perturbs are left out of every comparison, unless --own-genes is
/// given.
///
/// Writes screen.csv (all candidates, the nearest first), results.json and report.html into --out.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataFiles,
    /// The perturbation whose effect is wanted, A or A+B: of --data, or of --target-file
    #[arg(long, value_name = "A+B", required_unless_present = "target_file")]
    target: Option<String>,
    /// An .h5ad, cells or effects, that holds the wanted state; --target names the row where it has several
    #[arg(long, value_name = "FILE")]
    target_file: Option<PathBuf>,
    /// What is tried: singles, pairs or all
    #[arg(long, value_name = "WHICH", default_value = "all")]
    candidates: Candidates,
    /// What near means: cosine, pearson or l2
    #[arg(long, value_name = "MEASURE", default_value_t = Closeness::Cosine)]
    by: Closeness,
    /// Compare the columns of the perturbed genes too
    #[arg(long)]
    own_genes: bool,
    /// Candidates to print
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Gene sets (GMT): genes that were not perturbed in --data are candidates too, as single perturbations, if they share
    /// sets with those that were
    #[arg(long, value_name = "FILE.gmt")]
    gene_sets: Option<PathBuf>,
    /// Seed of the training
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = "genailab-screen")]
    out: PathBuf,
    #[command(flatten)]
    columns: DataArgs,
}

pub fn run(args: &Args) -> Result<()> {
    let data = args.columns.open_effects(&args.data)?;
    let (wanted, target, own) = match &args.target_file {
        None => {
            let row = find(&data, args.target.as_deref().expect("clap asks for one of the two"))
                .map_err(|e| e.at("--target"))?;
            (data.perturbations[row].clone(), data.values.row(row).to_vec(), Some(row))
        }
        Some(path) => {
            let file = args.columns.open_effects(path)?;
            let row = match (&args.target, file.perturbations.len()) {
                (Some(target), _) => find(&file, target).map_err(|e| e.at("--target"))?,
                (None, 1) => 0,
                (None, n) => {
                    return Err(Error::config(format!(
                        "{} holds {n} perturbations; say which one is wanted with --target",
                        path.display()
                    )));
                }
            };
            (file.perturbations[row].clone(), aligned(&data, &file, row).map_err(|e| e.at(path.display()))?, None)
        }
    };
    let name = wanted.to_string();
    args.gene_sets.iter().try_for_each(|file| provenance::reads(file))?;
    let out = OutputFolder::for_results(&args.out)?;
    let config = CombinationConfig { gene_sets: args.gene_sets.clone(), ..CombinationConfig::default() };

    let trust = trusted(args, &data, &config)?;
    let rows: Vec<usize> = (0..data.perturbations.len()).filter(|&row| Some(row) != own).collect();
    let model = CombinationModel::fit_table(&EffectTable::of_effects(&data, &rows), &config, &Run::quiet(args.seed))?;
    let perturbed: Vec<String> = model.perturbed().cloned().collect();
    let mut candidates = args.candidates.of(&perturbed);
    if args.gene_sets.is_some() {
        let unseen = model.featured().filter(|gene| perturbed.binary_search(gene).is_err());
        candidates.extend(unseen.map(|gene| Perturbation::of([gene.as_str()])));
    }
    if candidates.is_empty() {
        return Err(Error::data(format!(
            "{}: no gene was perturbed alone, so there is no candidate",
            args.data.display()
        )));
    }
    let search = Search { by: args.by, own_genes: args.own_genes, target_genes: wanted.genes().to_vec() };
    let left_out = model.genes().len() - search.columns(model.genes(), &candidates)?.len();
    let hits = screen(&model, &candidates, &target, search)?;
    let table = table(&name, &hits[..hits.len().min(SHOWN)], args.by)?;
    write_atomically(&out.join("screen.csv"), csv(&hits).as_bytes())?;
    let results = json!({
        "dataset": args.data.display().to_string(),
        "target": name,
        "by": args.by,
        "candidates": hits.len(),
        "genes": model.genes().len(),
        "genes_left_out": left_out,
        "hits": hits,
        "retrieval": trust,
    });
    write_atomically(&out.join("results.json"), format!("{results:#}\n").as_bytes())?;
    report(&name, &hits, &trust, table, &compared(left_out, model.genes().len()), args)?
        .save(out.join("report.html"))?;
    for hit in &hits[..hits.len().min(args.top)] {
        say(line(hit))?;
    }
    say(compared(left_out, model.genes().len()))?;
    say(verdict(&trust))?;
    say(format_args!("report: {}", out.join("report.html").display()))
}

/// The row of a perturbation.
fn find(data: &Effects, name: &str) -> Result<usize> {
    let wanted: Perturbation = name.parse()?;
    data.perturbations.iter().position(|known| *known == wanted).ok_or_else(|| {
        let examples: Vec<String> = data.perturbations.iter().take(5).map(ToString::to_string).collect();
        Error::config(format!(
            "{wanted} is not in the file, which has {} perturbations: {}, …",
            data.perturbations.len(),
            examples.join(", ")
        ))
    })
}

/// The effect in a row of `file`, in the order of the genes of `data`.
fn aligned(data: &Effects, file: &Effects, row: usize) -> Result<Vec<f32>> {
    let place: HashMap<&str, usize> = file.genes.names.iter().map(String::as_str).zip(0..).collect();
    let missing: Vec<&str> =
        data.genes.names.iter().map(String::as_str).filter(|gene| !place.contains_key(gene)).collect();
    match missing.first() {
        None => Ok(data.genes.names.iter().map(|gene| file.values[[row, place[gene.as_str()]]]).collect()),
        Some(first) => Err(Error::data(format!(
            "it lacks {} of the {} genes of --data, {first} among them; the target must have them all",
            missing.len(),
            data.genes.names.len()
        ))),
    }
}

/// At which ranks measured doubles come back that a model has not seen.
fn trusted(args: &Args, data: &Effects, config: &CombinationConfig) -> Result<Vec<Retrieved>> {
    let alone = |gene: &String| data.perturbations.iter().any(|p| p.genes() == std::slice::from_ref(gene));
    let mut shuffled: Vec<usize> = (0..data.perturbations.len())
        .filter(|&row| data.perturbations[row].genes().len() == 2 && data.perturbations[row].genes().iter().all(alone))
        .collect();
    shuffled.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(args.seed));
    let left_out = &shuffled[..shuffled.len() / LEFT_OUT];
    if left_out.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<usize> = (0..data.perturbations.len()).filter(|row| !left_out.contains(row)).collect();
    let model = CombinationModel::fit_table(&EffectTable::of_effects(data, &rows), config, &Run::quiet(args.seed))?;
    let candidates = Candidates::All.of(&model.perturbed().cloned().collect::<Vec<_>>());
    let asked: Vec<Perturbation> = left_out.iter().map(|&row| data.perturbations[row].clone()).collect();
    let observed = data.values.select(genailab::ndarray::Axis(0), left_out);
    let search = Search { own_genes: args.own_genes, ..args.by.into() };
    retrieve(&model, &candidates, &asked, observed.view(), search)
}

fn median(mut ranks: Vec<usize>) -> usize {
    ranks.sort_unstable();
    ranks[ranks.len() / 2]
}

fn verdict(trust: &[Retrieved]) -> String {
    let Some(first) = trust.first() else {
        return "too few measured doubles to say how far this ranking is to be trusted".to_owned();
    };
    let within = |n: usize| trust.iter().filter(|found| found.rank <= n).count();
    format!(
        "of {} measured doubles that a model had not seen, {} came back within the first 10 of {} candidates, {} as the \
         first; median rank {} (by adding effects {})",
        trust.len(),
        within(10),
        first.of,
        within(1),
        median(trust.iter().map(|found| found.rank).collect()),
        median(trust.iter().map(|found| found.additive_rank).collect())
    )
}

/// What effects are compared by.
fn compared(left_out: usize, genes: usize) -> String {
    match left_out {
        0 => format!("compared by all {genes} genes, the perturbed ones among them"),
        _ => format!(
            "compared by {} of {genes} genes: the columns of {left_out} genes that are perturbed in a candidate or in the \
             target are left out, because they would name it",
            genes - left_out
        ),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn line(hit: &Hit) -> String {
    format!(
        "{:<24} cosine {:>6}  pearson {:>6}  l2 {:>7.3}  strength {:>7.3}  departure {:.2}",
        hit.perturbation.to_string(),
        number(hit.cosine),
        number(hit.pearson),
        hit.l2,
        hit.strength,
        hit.departure
    )
}

fn table(target: &str, hits: &[Hit], by: Closeness) -> Result<Grid> {
    let headings = [
        ("perturbation", Align::Left),
        ("cosine", Align::Right),
        ("Pearson", Align::Right),
        ("L2", Align::Right),
        ("strength", Align::Right),
        ("departure", Align::Right),
    ];
    let mut grid = Grid::new(format!("the candidates nearest to {target} by {by}"), headings);
    for hit in hits {
        grid.push([
            hit.perturbation.to_string(),
            number(hit.cosine),
            number(hit.pearson),
            format!("{:.3}", hit.l2),
            format!("{:.3}", hit.strength),
            format!("{:.2}", hit.departure),
        ])?;
    }
    Ok(grid)
}

fn csv(hits: &[Hit]) -> String {
    let mut text = "rank,perturbation,cosine,pearson,l2,strength,departure\n".to_owned();
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for (rank, hit) in hits.iter().enumerate() {
        let (cosine, pearson) = (number(hit.cosine), number(hit.pearson));
        let Hit { perturbation, l2, strength, departure, .. } = hit;
        let perturbation = csv_field(&perturbation.to_string());
        writeln!(text, "{},{perturbation},{cosine},{pearson},{l2},{strength},{departure}", rank + 1)
            .expect("a string takes all that is written");
    }
    text
}

fn report(target: &str, hits: &[Hit], trust: &[Retrieved], table: Grid, compared: &str, args: &Args) -> Result<Report> {
    let near = |hit: &Hit| match args.by {
        Closeness::Cosine => hit.cosine,
        Closeness::Pearson => hit.pearson,
        Closeness::L2 => Some(hit.l2),
    };
    let shown: Vec<(String, Option<f64>)> =
        hits.iter().take(SHOWN / 2).map(|hit| (hit.perturbation.to_string(), near(hit))).collect();
    let label = match args.by {
        Closeness::Cosine => "cosine of predicted and wanted effect",
        Closeness::Pearson => "Pearson correlation of predicted and wanted effect",
        Closeness::L2 => "L2 between predicted and wanted effect",
    };
    let mut report = Report::new(format!("Screen for {target}"))
        .verdict(Verdict::Plain, format!("Nearest of {} candidates: {}.", hits.len(), hits[0].perturbation))
        .verdict(if trust.is_empty() { Verdict::Warning } else { Verdict::Plain }, format!("{}.", verdict(trust)))
        .paragraph(format!("Effects are {compared}."))
        .section("Nearest candidates")
        .figure(ranked(&format!("The candidates nearest to {target}"), label, &shown)?)
        .table(table)
        .paragraph(
            "Strength is the length of the predicted effect; departure is how far the prediction is from the sum of the \
             single effects, as a share of that sum. The whole list is in screen.csv.",
        );
    if !trust.is_empty() {
        let headings =
            [("unseen double", Align::Left), ("rank", Align::Right), ("rank by adding effects", Align::Right)];
        let mut grid = Grid::new(format!("ranks among {} candidates", trust[0].of), headings);
        for found in trust {
            grid.push([found.perturbation.to_string(), found.rank.to_string(), found.additive_rank.to_string()])?;
        }
        report = report.section("How far to trust it").table(grid);
    }
    Ok(report)
}
