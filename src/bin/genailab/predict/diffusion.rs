//! Predictions with their spread, by the diffusion models.

use super::{Args, categories, perturbations, write_cells, write_effects};
use crate::options::say;
use genailab::{
    Error, ErrorKind, Result,
    data::{Column, Condition, Perturbation},
    model::{
        Generated,
        latent_diffusion::{Draw, EffectDiffusion, LatentDiffusion, Library, Uncertain},
    },
    ndarray::{Array2, Axis, concatenate},
};

/// Draws of mean effects; one sample is the mean itself.
pub fn effects(args: &Args) -> Result<()> {
    args.refuse_options_of_diffusion("a model of mean effects")?;
    let model = EffectDiffusion::load(&args.model)?;
    let asked = perturbations(&args.perturbations, |gene| model.mean().represents(gene))?;
    let conditions: Vec<Condition> = asked.iter().cloned().map(Condition::of).collect();
    model.mean().check(&conditions).map_err(|e| e.at("--perturbations"))?;
    let genes = model.mean().genes().to_vec();
    let drawn = match args.samples {
        1 => model.mean().effects(&conditions)?,
        n => {
            let blocks = conditions
                .iter()
                .map(|condition| match model.novelty(condition)? {
                    // Its effect was measured: every draw is the measured one.
                    None => Ok(model.mean().effects(std::slice::from_ref(condition))?.select(Axis(0), &vec![0; n])),
                    Some(_) => model.draws(condition, n, args.seed).map_err(|e| e.at("--perturbations")),
                })
                .collect::<Result<Vec<Array2<f64>>>>()?;
            let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
            concatenate(Axis(0), &views).expect("every block has the model's genes")
        }
    };
    write_effects(&asked, args.samples, &drawn.mapv(|value| value as f32), genes, args)?;
    say(args.out.display())
}

/// Cells. With several samples each has a mean of its own, where the mean is not known.
pub fn cells(args: &Args) -> Result<()> {
    let mut model = LatentDiffusion::load(&args.model)?;
    model.set_sampling(args.steps, args.guidance)?;
    let asked = perturbations(&args.perturbations, |gene| model.mean().represents(gene))?;
    let library = args.library.map_or(Library::Sampled, Library::Given);
    let mut blocks = Vec::with_capacity(asked.len());
    for perturbation in &asked {
        let condition = Condition::of(perturbation.clone());
        let mut uncertain = match args.samples > 1 && model.novelty(&condition).is_some() {
            true => Uncertain::CellsAndMean,
            false => Uncertain::Cells,
        };
        if uncertain == Uncertain::CellsAndMean
            && let Err(reason) = model.spread()
        {
            say(format_args!("note: all samples of {perturbation} have the same mean: {reason}"))?;
            uncertain = Uncertain::Cells;
        }
        let samples = (0..args.samples)
            .map(|sample| {
                let draw = Draw { cells: args.cells, library, uncertain };
                model.sample(&condition, draw, args.seed.wrapping_add(sample as u64)).map_err(located)
            })
            .collect::<Result<Vec<Generated>>>()?;
        blocks.push(joined(samples));
    }
    let genes = model.vae().vocabulary().genes.clone();
    write_cells(&asked, &blocks, genes, "genailab latent diffusion", args)?;
    say(args.out.display())
}

/// What is not known of a perturbation is the fault of what was asked for.
fn located(error: Error) -> Error {
    if error.kind() == ErrorKind::Inapplicable { error.at("--perturbations") } else { error }
}

fn joined(samples: Vec<Generated>) -> Generated {
    let views: Vec<_> = samples.iter().map(|sample| sample.values.view()).collect();
    Generated {
        values: concatenate(Axis(0), &views).expect("every sample has the model's genes"),
        library_size: samples.iter().flat_map(|sample| sample.library_size.iter().copied()).collect(),
        are_counts: samples.iter().all(|sample| sample.are_counts),
    }
}

/// The number of the sample of each row, where a perturbation has `samples` of `rows_each / samples` rows each.
pub fn sample_column(perturbations: &[Perturbation], samples: usize, rows_each: usize) -> Column {
    let each = (rows_each / samples.max(1)).max(1);
    let numbers = perturbations.iter().flat_map(|_| (0..rows_each).map(|row| Some((row / each) as i64)));
    Column::Integer(numbers.collect())
}

/// The columns that say what each row is of.
pub fn row_columns(perturbations: &[Perturbation], samples: usize, rows_each: usize) -> [(&'static str, Column); 2] {
    [
        ("perturbation", categories(perturbations, rows_each)),
        ("sample", sample_column(perturbations, samples, rows_each)),
    ]
}
