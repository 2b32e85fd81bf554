//! The figures of an ablation's report.

use genailab::{
    Result,
    bench::ablation::{Ablation, Trial, UNCHANGED},
    show::{Better, Figure, ModelValues, group_panels},
};

/// What is drawn: the name of a figure of [`Trial::figures`], and its label. Of both, less is better.
const DRAWN: [(&str, &str); 2] = [("l2", "L2 of the mean effect"), ("edistance_plain", "E-distance (plain)")];

/// A panel a seed and a row a variant, of an ablation whose conditions are judged one by one; none of another.
///
/// # Errors
/// A figure that cannot be drawn.
pub fn figures(done: &Ablation) -> Result<Vec<Figure>> {
    let variants = done.variants();
    let mut panels: Vec<(u64, usize)> = Vec::new(); // seed, judged conditions
    for trial in done.trials.iter().filter(|trial| !trial.scores.is_empty()) {
        if !panels.iter().any(|(seed, _)| *seed == trial.seed) {
            let judged = trial.scores.iter().filter(|row| row.metric == DRAWN[0].0).count();
            panels.push((trial.seed, judged));
        }
    }
    panels.sort_unstable();
    let groups: Vec<(String, usize)> = panels.iter().map(|(seed, judged)| (format!("seed {seed}"), *judged)).collect();
    // A row has room for some 25 letters.
    let shown = |variant: &str| variant.replacen("encoder frozen", "frozen", 1);
    let mut figures = Vec::new();
    for (name, label) in DRAWN {
        let value = |trial: &Trial| trial.figures.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        let of = |variant: &&str| {
            let at = |(seed, _): &(u64, usize)| {
                done.trials.iter().find(|trial| trial.variant == *variant && trial.seed == *seed).and_then(value)
            };
            ModelValues::new(shown(variant), panels.iter().map(at).collect())
        };
        let values: Vec<ModelValues> = variants.iter().map(of).collect();
        if values.iter().any(|of| of.values.iter().any(Option::is_some)) {
            figures.push(group_panels(
                &format!("{label} by variant"),
                label,
                Better::Lower,
                &groups,
                &values,
                &[UNCHANGED],
            )?);
        }
    }
    Ok(figures)
}
