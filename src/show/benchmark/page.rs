//! The report of a benchmark, from the verdict to the model cards.

use super::{
    super::{Report, axis::number},
    conditions::{number_of_genes_table, perturbation_table},
    embeddings,
    figures::primary,
    table::{absent, card_id, order, rule, summary},
    verdict,
    view::{MOST_COLUMNS, View, families, headline, known},
};
use crate::{
    Result,
    bench::{Benchmark, Role, label},
    show::Grid,
};

impl Benchmark {
    /// The whole report: the verdict, the summary, the figures, one card per model. Figures that the data has no numbers for
    /// are left out. Shown inline in a notebook; `report()?.save("report.html")` writes one self-contained file.
    ///
    /// # Errors
    /// None for a benchmark with at least one score.
    pub fn report(&self) -> Result<Report> {
        let view = View::new(self);
        let mut report = Report::new(title(self));
        let Ok(metric) = primary(self) else {
            for (tone, text) in verdict(self, "") {
                report = report.verdict(tone, text);
            }
            return what_is_absent(report, self);
        };
        for (tone, text) in verdict(self, metric) {
            report = report.verdict(tone, text);
        }
        report = report.section("Summary").table(summary(self)?).paragraph(rule(self));
        report = what_is_absent(report, self)?;

        let name = label(metric);
        report = report.section("Compared on the same conditions");
        for grid in self.same_conditions() {
            report = report.table(grid);
        }
        if let Ok(figure) = self.l2_ratio() {
            report = report.figure(figure);
        }
        report = report.section(format!("Every held-out {}", view.noun(1))).figure(self.condition_dots(metric)?);
        if let Some(grid) = perturbation_table(self)? {
            if let Ok(figure) = self.per_perturbation() {
                report = report.figure(figure);
            }
            let inside = Report::new("").table(grid);
            report = report.details("perturbations", format!("Every held-out {}, in numbers", view.noun(1)), inside);
        }
        if let Some(grid) = number_of_genes_table(self)? {
            report = report.section("Singles apart from combinations").table(grid);
        }
        if !self.groups.is_empty()
            && let Ok(figure) = self.group_panels(metric)
        {
            report = report.section("How much was seen").figure(figure);
        }
        if let Ok(figure) = self.scatter() {
            report = report.section("Predicted and observed effects").figure(figure);
        }
        if let Ok(figure) = self.interaction_curve() {
            report = report.section("Genetic interactions").figure(figure);
        }
        report = embeddings::section(report, self)?;
        let columns = headline(self);
        report = report.section("Models and metrics").figure(self.model_heatmap("Headline metrics", &columns)?);
        let n = known(self).len();
        if n > columns.len() {
            report = report.details("metrics", format!("All {n} metrics, by family"), self.all_metrics(name)?);
        }

        report = report.section("Model cards");
        for model in order(&view) {
            let facts = self.models.iter().find(|facts| facts.name == model);
            let summary = match facts.map(|facts| facts.role) {
                Some(Role::Ceiling) => format!("{model} (ceiling)"),
                Some(Role::Floor) => format!("{model} (floor)"),
                Some(Role::File) => format!("{model} (your predictions)"),
                _ => model.to_owned(),
            };
            report = report.details(&card_id(model), summary, self.model_card(model)?);
        }
        Ok(report.section("Data and splits").table(Grid::facts("", facts(self))).paragraph(METHOD))
    }

    /// One heat map per family of metrics, or several where a family has many; `name` is the metric that orders the rows.
    fn all_metrics(&self, name: &str) -> Result<Report> {
        let mut report = Report::new("").paragraph(format!(
            "Rows are in the order of {name}, between the ceiling (if there is one) and the floor."
        ));
        for (family, metrics) in families(self) {
            let parts = metrics.len().div_ceil(MOST_COLUMNS);
            let columns = metrics.len().div_ceil(parts);
            for (i, part) in metrics.chunks(columns).enumerate() {
                let title = if parts == 1 { family.to_owned() } else { format!("{family} ({} of {parts})", i + 1) };
                report = report.figure(self.model_heatmap(&title, part)?);
            }
        }
        Ok(report)
    }
}

/// The name of the data without its folder, and the split.
fn title(benchmark: &Benchmark) -> String {
    let name = benchmark.dataset.rsplit(['/', '\\']).next().filter(|name| !name.is_empty());
    format!("Benchmark: {}, {}", name.unwrap_or(&benchmark.dataset), benchmark.split)
}

/// How the numbers were made.
const METHOD: &str = "An effect is the difference to the training control cells of the same context in mean log-normalised \
    expression. Models see the training fold only. A comparison is paired: the same conditions of the same splits. Its \
    interval comes from 2,000 bootstrap draws of conditions, each with all its splits, so that more splits of the same \
    conditions do not feign more evidence. Each interval is of one comparison: among twenty that are compared, one may be \
    \"better\" by chance.";

fn what_is_absent(report: Report, benchmark: &Benchmark) -> Result<Report> {
    let Some(grid) = absent(benchmark)? else { return Ok(report) };
    let n: usize = benchmark.absent.iter().map(|absent| absent.n).sum();
    let summary = format!("What is absent, and why ({} values)", number(n as f64, 1.0));
    Ok(report.details("absent", summary, Report::new("").table(grid)))
}

fn facts(benchmark: &Benchmark) -> Vec<(&'static str, String)> {
    let data = &benchmark.data;
    let mut facts = vec![
        ("dataset", benchmark.dataset.clone()),
        ("kind", data.kind.clone()),
        ("cells", if data.cells > 0 { data.cells.to_string() } else { "none: one row per perturbation".to_owned() }),
        ("genes", data.genes.to_string()),
        ("conditions without control", data.conditions.to_string()),
        ("split", benchmark.split.clone()),
    ];
    if let Some(context) = &data.context {
        facts.push(("context", context.clone()));
    }
    if let Some(split) = benchmark.splits.first() {
        let text = format!("{} for training, {} for validation, {} judged", split.train, split.validation, split.test);
        facts.push(("conditions of the first split", text));
    }
    let seeds: Vec<String> = benchmark.splits.iter().map(|split| split.seed.to_string()).collect();
    facts.push(("seeds", seeds.join(", ")));
    if !data.fingerprint.is_empty() {
        facts.push(("fingerprint of the data (SHA-256)", data.fingerprint.clone()));
    }
    facts.push(("genailab", benchmark.genailab.clone()));
    facts
}
