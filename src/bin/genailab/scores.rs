//! The space that cells are compared in: principal components, or the embedding of a trained model.

use crate::{
    options::{DataArgs, aligned},
    predict::covariates,
    provenance,
    sources::DataFiles,
};
use genailab::{
    Error, ErrorKind, Result,
    data::{Counts, Dataset, GeneChoice, Opened},
    device::Device,
    eval::sets::subsample,
    math::Pca,
    model::registry::Registry,
    ndarray::{Array2, Axis},
};
use std::path::Path;

/// Cells that principal components are found on; more are thinned at random.
const PCA_CELLS: usize = 10_000;

/// Principal components of expression `(cells, genes)`, or as many as are possible, `(cells, components)`.
pub fn principal_components(expression: &Counts, components: usize, seed: u64) -> Result<Array2<f32>> {
    let all: Vec<usize> = (0..expression.n_cells()).collect();
    let fitted_on = expression.select_cells(&subsample(&all, PCA_CELLS, seed)).to_dense();
    let components = components.min(fitted_on.ncols()).min(fitted_on.nrows().saturating_sub(1));
    let pca = Pca::fit(fitted_on.view(), components, seed)?;
    drop(fitted_on);
    let mut scores = Array2::zeros((all.len(), components));
    for (rows, mut out) in all.chunks(PCA_CELLS).zip(scores.axis_chunks_iter_mut(Axis(0), PCA_CELLS)) {
        out.assign(&pca.transform(expression.select_cells(rows).to_dense().view())?);
    }
    Ok(scores)
}

/// Cells as a trained model embeds them.
pub struct Embedded {
    /// Its name in obsm: `X_vae`, ….
    pub name: &'static str,
    /// The cells, with the genes of the model.
    pub data: Dataset,
    /// `(cells, dimensions)`.
    pub z: Array2<f32>,
}

/// The cells of `data` in the space of the model in `folder`; `at` are values of `--at`, and `choose` thins the cells.
pub fn embedded(
    folder: &Path,
    (data, columns): (&DataFiles, &DataArgs),
    (at, device): (&[String], Device),
    choose: impl FnOnce(Dataset) -> Result<Dataset>,
) -> Result<Embedded> {
    provenance::reads(folder)?;
    let model = covariates::at(Registry::default().load(folder, device)?, at)?;
    let Some(name) = model.abilities().embeddings else {
        return Err(Error::config(format!(
            "{} holds a model of kind {}, which embeds no cells (or was trained on mean effects); give the folder of a \
             jepa, a vae of cells or a causal-vae",
            folder.display(),
            model.kind()
        )));
    };
    let choice = GeneChoice::Named(model.genes().to_vec());
    let Opened::Cells(cells) = columns.open_genes(data, &choice, true, |_| Ok(Vec::new()))? else {
        return Err(Error::config(format!("{} is an effects dataset; give one of cells", data.display())));
    };
    let cells = choose(cells)?;
    let located = |e: Error| if e.kind() == ErrorKind::Data { e.at(data.display()) } else { e };
    let known = aligned(&cells, model.genes()).map_err(located)?;
    let rows: Vec<usize> = (0..cells.n_cells()).collect();
    let z = model.embed(&known, &rows).map_err(located)?;
    Ok(Embedded { name, data: cells, z })
}
