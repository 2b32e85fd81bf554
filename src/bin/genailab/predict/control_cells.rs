//! Cells predicted from given control cells.

use super::{Args, MOST_CELLS, joined, rows::write_cells};
use crate::options::aligned;
use genailab::{
    Error, ErrorKind, Result,
    data::{Opened, Perturbation},
    model::{Generated, Trained},
};
use std::path::Path;

/// Cells of each perturbation, one for each control cell of a file and sample.
pub fn predict(model: &dyn Trained, perturbations: &[Perturbation], file: &Path, args: &Args) -> Result<()> {
    if !model.abilities().cells_from {
        return Err(Error::config(format!(
            "--control-cells: a model of kind {} starts from no given cells; leave the option out, or give the folder of a \
             jepa, a jepa-diffusion or a vae",
            model.kind()
        )));
    }
    let located = |e: Error| if e.kind() == ErrorKind::Data { e.at(file.display()) } else { e };
    let Opened::Cells(data) = args.columns.open_for(file, model.genes(), false)? else {
        return Err(Error::config(format!(
            "--control-cells: {} is an effects dataset; give one of cells",
            file.display()
        )));
    };
    let data = aligned(&data, model.genes()).map_err(located)?;
    let rows = data.control_cells();
    match rows.len().checked_mul(args.samples) {
        Some(1..=MOST_CELLS) => {}
        Some(0) => return Err(Error::data("no cell is labelled as control").at(file.display())),
        _ => return Err(Error::config(format!("more than {MOST_CELLS} cells are asked for; give fewer --samples"))),
    }
    let mut blocks = Vec::with_capacity(perturbations.len());
    for perturbation in perturbations {
        let condition = args.condition(perturbation);
        let sample = |sample: usize| {
            model.cells_from(&data, &rows, &condition, args.seed.wrapping_add(sample as u64)).map_err(located)
        };
        blocks.push(joined((0..args.samples).map(sample).collect::<Result<Vec<Generated>>>()?));
    }
    let names: Vec<String> = rows.iter().map(|&row| data.cells.names[row].clone()).collect();
    write_cells(perturbations, &blocks, model, (args, &names))
}
