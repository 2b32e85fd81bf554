//! The files of predictions: rows of cells and of effects.

use super::{Args, HINTS, covariates};
use crate::provenance;
use genailab::{
    Result,
    data::{AnnDataWriter, Column, Counts, Perturbation, Table, Uns},
    model::{Generated, Trained},
    ndarray::{Array2, ArrayView2, Axis, concatenate},
};

/// Writes the cells of perturbations, a block each, and the names of the control cells that each sample starts from, where they
/// were given.
pub fn write_cells(
    perturbations: &[Perturbation],
    blocks: &[Generated],
    model: &dyn Trained,
    (args, starts): (&Args, &[String]),
) -> Result<()> {
    let rows_each = blocks.first().map_or(0, |block| block.library_size.len());
    let views: Vec<ArrayView2<'_, f32>> = blocks.iter().map(|block| block.values.view()).collect();
    let values = concatenate(Axis(0), &views).expect("every block has the model's genes");
    let names: Vec<String> = perturbations
        .iter()
        .flat_map(|perturbation| (0..rows_each).map(move |cell| format!("{perturbation}-{cell}")))
        .collect();
    let mut cells = Table::from_names(names);
    for (name, column) in row_columns(perturbations, args.samples, rows_each) {
        cells.set(name, column);
    }
    let of_all = |value: &str| Column::Text(vec![Some(value.to_owned()); perturbations.len() * rows_each]);
    if let Some(context) = &args.asked_context.name {
        cells.set("context", of_all(context));
    }
    args.asked_context.levels.iter().for_each(|(name, level)| cells.set(name, of_all(level)));
    covariates::columns(&args.at).for_each(|(name, value)| cells.set(name, of_all(value)));
    if !starts.is_empty() {
        let names = (0..perturbations.len() * rows_each).map(|row| Some(starts[row % starts.len()].clone()));
        cells.set("control_cell", Column::Text(names.collect()));
    }
    let are_counts = blocks.iter().all(|block| block.are_counts);
    let library = blocks.iter().flat_map(|block| {
        let rows = block.values.rows().into_iter().zip(&block.library_size);
        // Drawn counts scatter about the library size that they were drawn for; a library holds what was counted.
        rows.map(|(row, &size)| f64::from(if are_counts { size.max(row.sum()) } else { size })).collect::<Vec<_>>()
    });
    cells.set("ncounts", Column::Float(library.collect()));
    let genes = Table::from_names(model.genes().to_vec());
    let by = format!("genailab {}", model.kind());
    let columns = [("perturbation_column", "perturbation"), ("library_size_column", "ncounts")];
    let (provenance, record) = provenance::entry()?;
    let writer = AnnDataWriter::new(&cells, &genes)
        .uns("predicted_by", by.as_str())
        .uns(provenance, record)
        .uns(HINTS, columns.into_iter().collect::<Uns>());
    if are_counts {
        writer.x(&Counts::from_dense(&values)).write(&args.out)
    } else {
        writer.x(&values).write(&args.out)
    }
}

/// Writes effects, `samples` rows per perturbation.
pub fn write_effects(
    perturbations: &[Perturbation],
    samples: usize,
    effects: &Array2<f32>,
    genes: Vec<String>,
    args: &Args,
) -> Result<()> {
    let names = perturbations.iter().flat_map(|perturbation| {
        (0..samples).map(move |sample| match samples {
            1 => perturbation.to_string(),
            _ => format!("{perturbation}-{sample}"),
        })
    });
    let mut table = Table::from_names(names.collect());
    match samples {
        1 => table.set("perturbation", categories(perturbations, 1)),
        _ => {
            row_columns(perturbations, samples, samples).into_iter().for_each(|(name, column)| table.set(name, column))
        }
    }
    let (provenance, record) = provenance::entry()?;
    AnnDataWriter::new(&table, &Table::from_names(genes))
        .uns(provenance, record)
        .uns("effect", "predicted difference to control, in the units of the training data")
        .uns(HINTS, [("perturbation_column", "perturbation")].into_iter().collect::<Uns>())
        .x(effects)
        .write(&args.out)
}

/// The perturbation of each row, `rows_each` rows per perturbation.
fn categories(perturbations: &[Perturbation], rows_each: usize) -> Column {
    let mut names: Vec<String> = perturbations.iter().map(ToString::to_string).collect();
    let all = names.clone();
    names.sort();
    names.dedup();
    let code = |name: &String| names.binary_search(name).expect("it was just put there") as i32;
    let codes = all.iter().flat_map(|name| std::iter::repeat_n(code(name), rows_each)).collect();
    Column::Categorical { codes, categories: names }
}

/// The columns that say what each row is of: the perturbation, and the number of the sample where a perturbation has
/// `samples` of `rows_each / samples` rows each.
fn row_columns(perturbations: &[Perturbation], samples: usize, rows_each: usize) -> [(&'static str, Column); 2] {
    let each = (rows_each / samples.max(1)).max(1);
    let numbers = perturbations.iter().flat_map(|_| (0..rows_each).map(|row| Some((row / each) as i64)));
    [("perturbation", categories(perturbations, rows_each)), ("sample", Column::Integer(numbers.collect()))]
}
