//! Genetic interactions: does the model know where a double departs from the sum of its singles?
//!
//! All doubles (and triples) whose singles were trained on are judged together, so the condition of these scores is `all`,
//! except for `gi_magnitude_error`. Two views:
//!
//! **Genes in doubles** (const-ae's task, Ahlmann-Eltze et al. 2025). The departure of a gene is observed effect minus sum of the
//! trained single effects, that is `AB - (A + B - control)`. Thresholds come from the local false discovery rate of all
//! departures of this split, at 0.05. A model's predicted departures rank all genes x doubles. Where there are controls, the
//! 1,000 genes of highest control expression count (const-ae's choice), of an effects dataset all genes. Departure from
//! const-ae: the null is fitted to the held-out doubles of the split, which is all that a benchmark's truth holds, where they
//! take the 124 doubles of five splits together.
//!
//! | metric | meaning |
//! |---|---|
//! | `interaction_auprc`, `interaction_auroc` | ranking by predicted departure, descending; true = synergy |
//! | `interaction_auprc_suppressive`, `interaction_auroc_suppressive` | the same ranking from its other end |
//! | `interaction_prevalence`, `interaction_prevalence_suppressive` | share of synergies (suppressions) among all genes x doubles: the AUPRC of a random ranking, the same for all models |
//! | `interaction_f1_synergy`, `interaction_f1_suppressive` | F1 of the predicted departures beyond the same thresholds |
//!
//! **Doubles as a whole** (Norman et al. 2019, GEARS): the scores of [`DoubleScores`] from the trained singles and the
//! predicted double, against those from the observed double, on the 300 genes that the singles change most.
//!
//! | metric | meaning |
//! |---|---|
//! | `gi_SCORE_spearman` | Spearman correlation over doubles of a score; magnitude, model_fit, similarity, equality |
//! | `gi_magnitude_error` | of one double: absolute difference of predicted and observed magnitude |
//! | `gi_class_accuracy` | share of doubles whose class ([`GiClass`]) is that of the observed double |
//! | `gi_precision_at_10_KIND` | GEARS' precision at 10, for its five kinds |
//!
//! A model that adds predicts no departure: it has no ranking, and its scores are the same for all doubles. Both are absent.

use super::super::{ALL, ObservedEffects, Predicted, Scores};
use crate::eval::{
    interactions::{
        DoubleScores, GeneInteraction, GiClass, GiKind, LocalFdr, RankingCurve, RobustFit, Thresholds, precision_at_k,
        ranking_curve,
    },
    spearman,
};

/// const-ae counts the genes of highest mean control expression.
const GENES: usize = 1000;
/// Genes that the fit of a double runs over. GEARS takes genes with a control mean above 0.5 UMI, which an effects dataset does not hold.
const FIT_GENES: usize = 300;
/// Fewer genes do not carry a fit.
const FEWEST_FIT_GENES: usize = 20;
/// const-ae's level of the local false discovery rate.
const LEVEL: f64 = 0.05;
/// GEARS' k.
const K: usize = 10;
/// A departure is rounding if it is below this share of the largest sum of singles.
const ROUNDING: f32 = 1e-5;
/// Scores of doubles are compared at this resolution: finer differences are rounding.
const RESOLUTION: f64 = 1e-5;
/// Fewest doubles for a correlation.
const FEWEST_DOUBLES: usize = 5;

const OF_GENES: [&str; 6] = [
    "interaction_auprc",
    "interaction_auroc",
    "interaction_auprc_suppressive",
    "interaction_auroc_suppressive",
    "interaction_f1_synergy",
    "interaction_f1_suppressive",
];
const PREVALENCE: [&str; 2] = ["interaction_prevalence", "interaction_prevalence_suppressive"];
type Score = fn(&DoubleScores) -> Option<f64>;
const SCORES: [(&str, Score); 4] = [
    ("gi_magnitude_spearman", |s| Some(s.magnitude)),
    ("gi_model_fit_spearman", |s| s.model_fit),
    ("gi_similarity_spearman", |s| s.similarity),
    ("gi_equality_spearman", |s| s.equality),
];

/// The observed side.
#[derive(Debug)]
pub(in super::super) struct InteractionTruth {
    /// Conditions whose singles were all trained on.
    rows: Vec<usize>,
    /// Genes whose departures are ranked.
    genes: Vec<usize>,
    /// Observed departures, gene after gene of each row.
    departures: Vec<f32>,
    /// From where on a departure is one, or why that cannot be said.
    thresholds: Result<Thresholds, String>,
    /// Genes of the fit of doubles.
    fit_genes: Vec<usize>,
    /// Scores of each row, `None` for a triple.
    scores: Vec<Option<DoubleScores>>,
}

impl InteractionTruth {
    fn of(observed: &ObservedEffects) -> Result<Self, String> {
        let rows: Vec<usize> =
            (0..observed.conditions.len()).filter(|&row| !observed.singles[row].is_empty()).collect();
        if rows.is_empty() {
            return Err("no judged condition combines perturbations that were trained on singly".to_owned());
        }
        let genes = judged_genes(observed, &rows);
        let departures = departures(observed, &rows, &genes, |row| Some(observed.effects.row(row).to_vec()))
            .expect("every row has an observed effect");
        let thresholds =
            LocalFdr::fit(&departures).map(|fit| fit.thresholds(&departures, LEVEL)).map_err(|error| error.to_string());
        let fit_genes = most_changed_by_singles(observed, &rows);
        let scores = rows
            .iter()
            .map(|&row| double_scores(observed, row, &fit_genes, &observed.effects.row(row).to_vec()))
            .collect();
        Ok(Self { rows, genes, departures, thresholds, fit_genes, scores })
    }
}

pub(super) fn measure(observed: &ObservedEffects, predicted: &Predicted, scores: &mut Scores) {
    let truth = observed.memo.interactions.get_or_init(|| InteractionTruth::of(observed));
    let nothing = |scores: &mut Scores, reason: &str| {
        let kinds = GiKind::ALL.map(precision_name);
        let names = OF_GENES.iter().chain(&PREVALENCE).copied().chain(SCORES.iter().map(|(name, _)| *name));
        names
            .chain(["gi_magnitude_error", "gi_class_accuracy"])
            .chain(kinds.iter().map(String::as_str))
            .for_each(|metric| scores.absent(metric, reason, 1));
    };
    let truth = match truth {
        Ok(truth) => truth,
        Err(reason) => return nothing(scores, reason),
    };
    // A ranking over the doubles that a model happens to answer would be compared with one over all of them.
    if let Some(reason) = truth.rows.iter().find_map(|&row| predicted.effects[row].as_ref().err()) {
        return nothing(scores, &format!("not every double is predicted: {reason}"));
    }
    of_genes(observed, predicted, truth, scores);
    of_doubles(observed, predicted, truth, scores);
}

fn of_genes(observed: &ObservedEffects, predicted: &Predicted, truth: &InteractionTruth, scores: &mut Scores) {
    let absent = |scores: &mut Scores, reason: &str| OF_GENES.iter().for_each(|name| scores.absent(name, reason, 1));
    let thresholds = match &truth.thresholds {
        Ok(thresholds) => thresholds,
        Err(reason) => {
            PREVALENCE.iter().for_each(|name| scores.absent(name, reason, 1));
            return absent(scores, reason);
        }
    };
    for (name, kind) in PREVALENCE.iter().zip([GeneInteraction::Synergy, GeneInteraction::Suppressive]) {
        let known = truth.departures.iter().filter(|&&d| thresholds.class(f64::from(d)) == kind).count();
        scores.put(name, ALL, Some(known as f64 / truth.departures.len() as f64), "there is no departure");
    }
    let Some(departures) = predicted_departures(observed, predicted, truth) else {
        return absent(scores, "the model adds: it predicts no departure from the sum of the singles");
    };
    let class = |departures: &[f32]| -> Vec<GeneInteraction> {
        departures.iter().map(|&departure| thresholds.class(f64::from(departure))).collect()
    };
    let (called, known) = (class(&departures), class(&truth.departures));
    for (kind, names) in [
        (GeneInteraction::Synergy, ["interaction_auprc", "interaction_auroc", "interaction_f1_synergy"]),
        (GeneInteraction::Suppressive, [OF_GENES[2], OF_GENES[3], OF_GENES[5]]),
    ] {
        let is = |classes: &[GeneInteraction]| -> Vec<bool> { classes.iter().map(|&class| class == kind).collect() };
        let (called, known) = (is(&called), is(&known));
        let ranking: Vec<f32> = match kind {
            GeneInteraction::Suppressive => departures.iter().map(|departure| -departure).collect(),
            _ => departures.clone(),
        };
        let curve = ranking_curve(&ranking, &known);
        let reason = "no observed departure is one at a local false discovery rate of 0.05";
        scores.put(names[0], ALL, curve.as_ref().map(|curve| curve.auprc), reason);
        scores.put(names[1], ALL, curve.as_ref().map(|curve| curve.auc), reason);
        scores.put(names[2], ALL, curve.and_then(|_| f1(&called, &known)), reason);
    }
}

fn of_doubles(observed: &ObservedEffects, predicted: &Predicted, truth: &InteractionTruth, scores: &mut Scores) {
    let answered: Vec<Option<DoubleScores>> = truth
        .rows
        .iter()
        .map(|&row| double_scores(observed, row, &truth.fit_genes, &predicted.effect(row)?.to_vec()))
        .collect();
    let both = || answered.iter().zip(&truth.scores).filter_map(|(p, o)| Some((p.as_ref()?, o.as_ref()?)));
    for ((&row, p), o) in truth.rows.iter().zip(&answered).zip(&truth.scores) {
        let error = p.as_ref().zip(o.as_ref()).map(|(p, o)| (p.magnitude - o.magnitude).abs());
        let reason = "the double cannot be fitted by its two singles";
        scores.put("gi_magnitude_error", &observed.conditions[row].to_string(), error, reason);
    }
    for (name, score) in SCORES {
        let rounded = |value: f64| ((value / RESOLUTION).round() * RESOLUTION) as f32;
        let (p, o): (Vec<f32>, Vec<f32>) =
            both().filter_map(|(p, o)| Some((rounded(score(p)?), rounded(score(o)?)))).unzip();
        let value = (p.len() >= FEWEST_DOUBLES).then(|| spearman(&p, &o)).flatten();
        scores.put(name, ALL, value, "the score is the same for all predicted doubles, or there are fewer than five");
    }
    let classes: Vec<bool> =
        both().filter_map(|(p, o)| Some((GiClass::of(p), GiClass::of(o)?))).map(|(p, o)| p == Some(o)).collect();
    let accuracy =
        (!classes.is_empty()).then(|| classes.iter().filter(|&&same| same).count() as f64 / classes.len() as f64);
    scores.put("gi_class_accuracy", ALL, accuracy, "no observed double has a class");
    for kind in GiKind::ALL {
        let reason = "fewer than ten doubles have this score, or none is of this kind as observed";
        scores.put(&precision_name(kind), ALL, precision_at_k(&answered, &truth.scores, kind, K), reason);
    }
}

/// The curve of true and false calls of a model, for figures: synergies ranked by predicted departure.
///
/// # Errors
/// In words: why there is none.
pub fn interaction_curve(observed: &ObservedEffects, predicted: &Predicted) -> Result<RankingCurve, String> {
    let truth = observed.memo.interactions.get_or_init(|| InteractionTruth::of(observed)).as_ref()?;
    let thresholds = truth.thresholds.as_ref()?;
    if let Some(reason) = truth.rows.iter().find_map(|&row| predicted.effects[row].as_ref().err()) {
        return Err(format!("not every double is predicted: {reason}"));
    }
    let departures = predicted_departures(observed, predicted, truth)
        .ok_or("the model adds: it predicts no departure from the sum of the singles")?;
    let known: Vec<bool> = truth
        .departures
        .iter()
        .map(|&departure| thresholds.class(f64::from(departure)) == GeneInteraction::Synergy)
        .collect();
    ranking_curve(&departures, &known).ok_or_else(|| "no observed departure is a synergy".to_owned())
}

fn precision_name(kind: GiKind) -> String {
    format!("gi_precision_at_{K}_{}", kind.name())
}

/// Predicted departures; `None` if there are none beyond rounding.
fn predicted_departures(
    observed: &ObservedEffects,
    predicted: &Predicted,
    truth: &InteractionTruth,
) -> Option<Vec<f32>> {
    let departures = departures(observed, &truth.rows, &truth.genes, |row| Some(predicted.effect(row)?.to_vec()))?;
    let largest = truth
        .rows
        .iter()
        .flat_map(|&row| truth.genes.iter().map(move |&gene| observed.additive[[row, gene]].abs()))
        .fold(0.0, f32::max);
    departures.iter().any(|departure| departure.abs() > ROUNDING * largest).then_some(departures)
}

fn departures(
    observed: &ObservedEffects,
    rows: &[usize],
    genes: &[usize],
    effect: impl Fn(usize) -> Option<Vec<f32>>,
) -> Option<Vec<f32>> {
    let mut all = Vec::with_capacity(rows.len() * genes.len());
    for &row in rows {
        let effect = effect(row)?;
        all.extend(genes.iter().map(|&gene| effect[gene] - observed.additive[[row, gene]]));
    }
    Some(all)
}

/// The genes of highest mean control expression that are expressed at all; every gene where there is no control.
fn judged_genes(observed: &ObservedEffects, rows: &[usize]) -> Vec<usize> {
    let Some(controls) = &observed.controls else { return (0..observed.genes.len()).collect() };
    let mean: Vec<f64> = (0..observed.genes.len())
        .map(|gene| rows.iter().map(|&row| f64::from(controls[[row, gene]])).sum::<f64>())
        .collect();
    strongest(&mean, GENES)
}

/// The genes with the largest sum of squared single effects over the judged doubles.
fn most_changed_by_singles(observed: &ObservedEffects, rows: &[usize]) -> Vec<usize> {
    let mut strength = vec![0.0_f64; observed.genes.len()];
    for single in rows.iter().filter(|&&row| observed.singles[row].len() == 2).flat_map(|&row| &observed.singles[row]) {
        strength.iter_mut().zip(single).for_each(|(sum, &value)| *sum += f64::from(value) * f64::from(value));
    }
    strongest(&strength, FIT_GENES)
}

/// Indices of the `n` largest values above zero, ascending.
fn strongest(values: &[f64], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).filter(|&i| values[i] > 0.0).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(n);
    order.sort_unstable();
    order
}

fn double_scores(observed: &ObservedEffects, row: usize, genes: &[usize], effect: &[f32]) -> Option<DoubleScores> {
    let [first, second] = observed.singles[row].as_slice() else { return None };
    if genes.len() < FEWEST_FIT_GENES {
        return None;
    }
    let pick = |effect: &[f32]| -> Vec<f32> { genes.iter().map(|&gene| effect[gene]).collect() };
    DoubleScores::of(&pick(&first.to_vec()), &pick(&second.to_vec()), &pick(effect), RobustFit::Huber)
}

/// Harmonic mean of precision and recall; `None` if nothing is true.
fn f1(called: &[bool], known: &[bool]) -> Option<f64> {
    let both = called.iter().zip(known).filter(|(c, k)| **c && **k).count() as f64;
    let (calls, cases) = (called.iter().filter(|&&c| c).count() as f64, known.iter().filter(|&&k| k).count() as f64);
    (cases > 0.0).then(|| 2.0 * both / (calls + cases))
}
