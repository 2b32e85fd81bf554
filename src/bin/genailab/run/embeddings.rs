//! The section of a run's report on predicted embeddings of held-out cells.

use genailab::{
    Result,
    model::jepa::{HeldOutEmbeddings, MeanAndDeviation},
    show::{Align, Grid, Report},
};

/// Adds it.
pub fn section(report: Report, found: &HeldOutEmbeddings) -> Result<Report> {
    let headings =
        ["prediction", "cosine of means", "cosine of shifts", "L2 of means", "cosine of cells", "L2 of cells"];
    let align = |place| if place == 0 { Align::Left } else { Align::Right };
    let caption =
        format!("{} perturbations, {} held-out cells: mean ± standard deviation", found.conditions, found.cells);
    let mut table = Grid::new(caption, headings.into_iter().enumerate().map(|(place, name)| (name, align(place))));
    let shown = |score: Option<MeanAndDeviation>| {
        score.map_or_else(|| "-".to_owned(), |of| format!("{:.3} ± {:.3}", of.mean, of.sd))
    };
    for of in &found.predictions {
        let scores = [of.cosine, of.cosine_shift, of.l2, of.cell_cosine, of.cell_l2].map(shown);
        table.push([of.prediction.replace('_', " ")].into_iter().chain(scores))?;
    }
    Ok(report
        .section("Stage 2: predicted embeddings of held-out cells")
        .paragraph(
            "The JEPA predicts embeddings; here they are compared with those that its teacher gives the held-out cells. Of \
             means: the mean predicted and the mean observed embedding of each perturbation, and their shifts from control. Of \
             cells: each held-out cell and the prediction from a control cell drawn by chance, which holds the spread of both; \
             compare predictions by the means. `mean shift` moves every control cell by the mean of the training \
             perturbations' shifts.",
        )
        .table(table))
}
