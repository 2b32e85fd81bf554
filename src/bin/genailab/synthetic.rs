//! `genailab synthetic`: are generated records as good as real ones, and no copies of them?

mod story;

use crate::{
    options::{DataArgs, data_file, say},
    output::OutputFolder,
    provenance,
    train::write_json,
};
use genailab::{
    Error, Result,
    data::{Dataset, Opened, Split, TargetSum, normalize::log_normalize, usual_total},
    eval::synthetic::{RecordLabels, Records, SyntheticEvaluation, evaluate},
    ndarray::{Array2, Axis},
};
use rand::{SeedableRng, seq::SliceRandom};
use serde_json::json;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Validate generated samples or cells against real ones: utility, fidelity and copies
///
/// Works on any generated .h5ad: of `genailab predict --cells N`, or of another tool. Genes are matched by name.
///
/// Real records that the generator was trained on are told from those that it has not seen by --split: split.json in the folder that
/// `genailab train` wrote. Without it a random half stands for each, and copies of either are found.
///
/// Writes results.json and report.html into --out. Each quantity stands beside its value for real training records: Fréchet distance in
/// principal components of the real records, precision, recall, density and coverage, the distribution of each gene, correlations
/// between genes; a probe of --label that is trained on synthetic and tested on real records, and the Inception score by
/// a probe of real records; copies and distances to the nearest
/// training record.
#[derive(clap::Args)]
pub struct Args {
    /// The .h5ad with real records; a name of `genailab datasets` is fetched
    #[arg(long, value_name = "FILE", value_parser = data_file)]
    real: PathBuf,
    /// The .h5ad with generated records
    #[arg(long, value_name = "FILE.h5ad")]
    generated: PathBuf,
    /// The split.json of the generator's training on --real [default: random halves]
    #[arg(long, value_name = "FILE.json")]
    split: Option<PathBuf>,
    /// Column of obs, in both files, that the probe predicts [default: the perturbation, where there are several]
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Principal components of the space of distances, or as many as are possible
    #[arg(long, value_name = "N", default_value_t = 30)]
    components: usize,
    /// Seed of whatever is drawn
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    columns: DataArgs,
}

/// What was compared, for the report.
pub(super) struct Facts {
    pub real: String,
    pub generated: String,
    pub genes: usize,
    pub records: [usize; 3],
    /// Whether the split of the training is known.
    pub split_known: bool,
    pub label: Option<String>,
    pub classes: usize,
    pub notes: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    if args.components == 0 {
        return Err(Error::config("--components must be at least 1"));
    }
    args.split.iter().try_for_each(|file| provenance::reads(file))?;
    let real = cells_of(args.columns.open_unlabelled(&args.real)?, &args.real)?;
    let generated = cells_of(DataArgs::default().open_unlabelled(&args.generated)?, &args.generated)?;
    let (real, generated, mut notes) = on_common_genes(real, generated, args)?;
    let split = split_of(args, &real)?;
    let train = [split.train.as_slice(), &split.validation].concat();
    let total = usual_total(&real.library_size);
    let expression = |data: &Dataset| Ok::<_, Error>(log_normalize(data, TargetSum::Fixed(total))?.to_dense());
    let (of_real, of_generated) = (expression(&real)?, expression(&generated)?);
    let pick = |rows: &[usize]| -> Array2<f32> { of_real.select(Axis(0), rows) };
    let (x_train, x_held_out) = (pick(&train), pick(&split.test));
    let labels = Labels::read(&real, &generated, args.label.as_deref())?;
    let of_rows = |labels: &[u32], rows: &[usize]| rows.iter().map(|&row| labels[row]).collect::<Vec<u32>>();
    let sets = labels.as_ref().map(|known| (of_rows(&known.real, &train), of_rows(&known.real, &split.test)));
    let labelled = labels.as_ref().zip(sets.as_ref()).map(|(known, (train, held_out))| RecordLabels {
        train,
        held_out,
        generated: &known.generated,
        classes: known.classes,
    });
    if labels.is_none() {
        notes.push(
            "no perturbation is known in both files, so no probe was trained; name a column by --label".to_owned(),
        );
    }
    let records = Records { train: x_train.view(), held_out: x_held_out.view(), generated: of_generated.view() };
    let out = OutputFolder::for_results(&args.out)?;
    let found = evaluate(&records, labelled.as_ref(), args.components, args.seed)?;
    let facts = Facts {
        real: args.real.display().to_string(),
        generated: args.generated.display().to_string(),
        genes: real.n_genes(),
        records: [train.len(), split.test.len(), generated.n_cells()],
        split_known: args.split.is_some(),
        label: labels.as_ref().map(|known| known.name.clone()),
        classes: labels.as_ref().map_or(0, |known| known.classes),
        notes,
    };
    write_json(&out.join("results.json"), &to_json(&found, &facts))?;
    story::report(&found, &facts)?.save(out.join("report.html"))?;
    say(story::table(&found)?)?;
    story::verdicts(&found, &facts).iter().try_for_each(|(_, text)| say(text))?;
    say(out.join("report.html").display())
}

fn to_json(found: &SyntheticEvaluation, facts: &Facts) -> serde_json::Value {
    let [train, held_out, generated] = facts.records;
    json!({
        "real": facts.real, "generated": facts.generated, "genes": facts.genes,
        "records": { "train": train, "held_out": held_out, "generated": generated },
        "split_known": facts.split_known, "label": facts.label, "notes": facts.notes,
        "suspect": found.privacy.is_suspect(), "results": found,
    })
}

fn cells_of(opened: Opened, file: &Path) -> Result<Dataset> {
    match opened {
        Opened::Cells(data) => Ok(data),
        Opened::Effects(_) => {
            Err(Error::config(format!("{} is an effects dataset; give one of samples or cells", file.display())))
        }
    }
}

/// Both files on the genes that they share, in the order of the real one.
fn on_common_genes(real: Dataset, generated: Dataset, args: &Args) -> Result<(Dataset, Dataset, Vec<String>)> {
    if real.expression != generated.expression {
        return Err(Error::config(format!(
            "{} holds {} and {} holds {}; compare like with like: samples of `genailab predict --cells N`, not means, and name \
             the real values by --expression if they were misread",
            args.real.display(),
            real.expression,
            args.generated.display(),
            generated.expression
        )));
    }
    let known: BTreeSet<&String> = generated.gene_names().iter().collect();
    let names: Vec<String> = real.gene_names().iter().filter(|name| known.contains(name)).cloned().collect();
    if names.is_empty() {
        return Err(Error::data(format!(
            "{} and {} share no gene name",
            args.real.display(),
            args.generated.display()
        )));
    }
    let mut notes = Vec::new();
    let (n_real, n_generated) = (real.n_genes(), generated.n_genes());
    if names.len() < n_real.max(n_generated) {
        let n = names.len();
        notes.push(format!(
            "compared on the {n} genes that both have, of {n_real} real and {n_generated} generated ones"
        ));
    }
    let (real_genes, generated_genes) = (real.genes_at(&names)?, generated.genes_at(&names)?);
    let (mut real, mut generated) = (real.select_genes(&real_genes)?, generated.select_genes(&generated_genes)?);
    if !notes.is_empty() && real.expression.is_counts() {
        // A total that one file counts over more genes than the other would move every value.
        for data in [&mut real, &mut generated] {
            data.library_size = data.counts.row_sums();
        }
        notes.push("counts are normalised to their sum over these genes".to_owned());
    }
    Ok((real, generated, notes))
}

fn split_of(args: &Args, real: &Dataset) -> Result<Split> {
    if let Some(file) = &args.split {
        let split = Split::load(file)?;
        split.check(real.n_cells()).map_err(|e| e.at(file.display()))?;
        return match split.test.is_empty() {
            true => Err(Error::config(format!(
                "{} holds out no record to compare with; train with test records (table [split] of --config)",
                file.display()
            ))),
            false => Ok(split),
        };
    }
    let mut rows: Vec<usize> = (0..real.n_cells()).collect();
    rows.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(args.seed));
    let (train, test) = rows.split_at(rows.len() / 2);
    Ok(Split { train: train.to_vec(), validation: Vec::new(), test: test.to_vec() })
}

/// The label of each record as a number.
struct Labels {
    name: String,
    real: Vec<u32>,
    generated: Vec<u32>,
    classes: usize,
}

impl Labels {
    fn read(real: &Dataset, generated: &Dataset, name: Option<&str>) -> Result<Option<Self>> {
        let texts = |data: &Dataset| -> Result<Vec<String>> {
            let Some(name) = name else {
                return Ok((0..data.n_cells()).map(|cell| data.perturbation_of(cell).to_string()).collect());
            };
            let column = data.cells.column(name).ok_or_else(|| {
                let known = data.cells.column_names().join(", ");
                Error::config(format!("--label {name}: obs has no such column; there are {known}"))
            })?;
            Ok(column.to_text().into_iter().map(|text| text.unwrap_or_else(|| "(missing)".to_owned())).collect())
        };
        let (of_real, of_generated) = (texts(real)?, texts(generated)?);
        let known: BTreeSet<&String> = of_real.iter().collect();
        let in_both = of_generated.iter().collect::<BTreeSet<_>>();
        let n_common = known.intersection(&in_both).count();
        match (name, n_common) {
            (None, 0 | 1) => return Ok(None),
            (Some(name), 0 | 1) => {
                return Err(Error::config(format!(
                    "--label {name}: a probe needs two values that both files have, and they share {n_common}"
                )));
            }
            _ => {}
        }
        let all: Vec<&String> = known.union(&in_both).copied().collect();
        let number = |texts: &[String]| -> Vec<u32> {
            texts.iter().map(|text| all.binary_search(&text).expect("it is one of all") as u32).collect()
        };
        Ok(Some(Self {
            name: name.unwrap_or("perturbation").to_owned(),
            real: number(&of_real),
            generated: number(&of_generated),
            classes: all.len(),
        }))
    }
}
