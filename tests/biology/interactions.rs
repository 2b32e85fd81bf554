//! Local FDR, ranking curves, scores of doubles.

use super::{close, list, number, reference};
use crate::common::real_data;
use genailab::{
    data::{Effects, Perturbation},
    eval::interactions::*,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use serde_json::Value;

fn normal(rng: &mut ChaCha8Rng, mean: f64, sd: f64, n: usize) -> Vec<f32> {
    Normal::new(mean, sd).expect("a normal").sample_iter(rng).take(n).map(|v| v as f32).collect()
}

#[track_caller]
fn assert_local_fdr(values: &[f32], expected: &Value) {
    let fit = LocalFdr::fit(values).expect("fits");
    close(fit.delta, number(&expected["delta"]), 1e-5, "delta");
    close(fit.sigma, number(&expected["sigma"]), 1e-5, "sigma");
    close(fit.p0, number(&expected["p0"]), 1e-5, "p0");
    close(fit.misfit, number(&expected["misfit"]), 1e-5, "misfit");
    for (name, got) in [("x", &fit.x), ("fitted", &fit.fitted), ("fdr", &fit.fdr)] {
        for (k, (&got, expected)) in got.iter().zip(list::<f64>(&expected[name])).enumerate() {
            close(got, expected, 1e-5, &format!("{name}[{k}]"));
        }
    }
    let thresholds = fit.thresholds(values, 0.05);
    close(thresholds.lower.expect("there is one"), number(&expected["lower"]), 1e-5, "lower");
    close(thresholds.upper.expect("there is one"), number(&expected["upper"]), 1e-5, "upper");
}

#[test]
fn local_fdr_agrees_with_statsmodels_and_scipy() {
    let reference = &reference("interactions")["local_fdr"];
    assert_local_fdr(&list::<f32>(&reference["values"]), &reference["expected"]);
}

#[test]
fn a_known_null_is_recovered() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for (delta, sigma, p0) in [(0.0, 1.0, 0.9), (0.007, 0.058, 0.83), (-3.0, 0.2, 0.95)] {
        let n = 60_000;
        let nulls = (p0 * f64::from(n)) as usize;
        let mut values = normal(&mut rng, delta, sigma, nulls);
        values.extend(normal(&mut rng, delta + 5.0 * sigma, sigma, (n as usize - nulls) / 2));
        values.extend(normal(&mut rng, delta - 5.0 * sigma, sigma, (n as usize - nulls) / 2));
        let fit = LocalFdr::fit(&values).expect("fits");
        assert!((fit.delta - delta).abs() < 0.03 * sigma, "delta {} of {delta}", fit.delta);
        assert!((fit.sigma / sigma - 1.0).abs() < 0.03, "sigma {} of {sigma}", fit.sigma);
        assert!((fit.p0 - p0).abs() < 0.02, "p0 {} of {p0}", fit.p0);
        // The true rate 4 sigma from the centre: p0 f0 / (p0 f0 + (1 - p0) / 2 f1), f1 one sigma from its own.
        let (z, other) = ((-8.0_f64).exp(), (-0.5_f64).exp());
        let truth = p0 * z / (p0 * z + (1.0 - p0) / 2.0 * other);
        let got = fit.at(delta + 4.0 * sigma);
        assert!((got - truth).abs() < 0.02, "fdr {got}, true {truth}");
        assert_eq!(fit.at(delta), 1.0);
    }
}

#[test]
fn what_is_no_departure_has_no_threshold() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut values = normal(&mut rng, 0.0, 1.0, 20_000);
    values.iter_mut().for_each(|v| *v = v.clamp(-2.5, 2.5));
    values.extend(normal(&mut rng, 6.0, 0.5, 500));
    let thresholds = LocalFdr::fit(&values).expect("fits").thresholds(&values, 0.05);
    assert_eq!(thresholds.lower, None);
    let upper = thresholds.upper.expect("the planted side has one");
    assert!((2.5..5.5).contains(&upper), "{upper}");
    assert_eq!(thresholds.class(6.0), GeneInteraction::Synergy);
    assert_eq!(thresholds.class(-9.0), GeneInteraction::Additive);
    for short in [vec![0.0; 500], vec![1.0, 2.0, 3.0]] {
        assert!(LocalFdr::fit(&short).is_err());
    }
}

#[test]
fn ranking_curve_agrees_with_scikit_learn() {
    let reference = &reference("interactions")["ranking"];
    let (scores, truth) = (list::<f32>(&reference["scores"]), list::<bool>(&reference["truth"]));
    let curve = ranking_curve(&scores, &truth).expect("both classes are there");
    close(curve.auprc, number(&reference["auprc"]), 1e-9, "average precision");
    close(curve.auc, number(&reference["auc"]), 1e-9, "AUC");
    let last = curve.points.last().expect("not empty");
    assert_eq!(last.true_positives + last.false_positives, scores.len());
    let (recall, fdp) = *curve.recall_and_fdp().last().expect("not empty");
    assert_eq!(recall, 1.0);
    close(fdp, 1.0 - curve.prevalence(), 1e-12, "FDP of calling everything");
}

#[test]
fn perfect_reversed_and_constant_rankings() {
    let truth: Vec<bool> = (0..1000).map(|i| i % 10 == 3).collect();
    let perfect: Vec<f32> = truth.iter().map(|&t| f32::from(u8::from(t))).collect();
    let reversed: Vec<f32> = perfect.iter().map(|score| -score).collect();
    let of = |scores: &[f32]| ranking_curve(scores, &truth).expect("both classes are there");
    assert_eq!((of(&perfect).auprc, of(&perfect).auc), (1.0, 1.0));
    assert_eq!(of(&reversed).auc, 0.0);
    assert_eq!((of(&vec![0.5; 1000]).auprc, of(&vec![0.5; 1000]).auc), (0.1, 0.5));
    assert!(ranking_curve(&perfect, &vec![false; 1000]).is_none());
    assert!(ranking_curve(&[f32::NAN, 1.0], &[true, false]).is_none());
    // A long ranking is thinned, but never loses its beginning and its end.
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let scores: Vec<f32> = (0..50_000).map(|_| rng.random()).collect();
    let many: Vec<bool> = (0..50_000).map(|_| rng.random::<f32>() < 0.1).collect();
    let curve = ranking_curve(&scores, &many).expect("both classes are there");
    assert!(curve.points.len() < 400 && curve.points[0].true_positives + curve.points[0].false_positives == 1);
}

/// `theil_sen` is the tolerance of that fit: which all but parallel pairs of genes determine a solution is decided by the last bit.
fn assert_scores([first, second, double]: [&[f32]; 3], expected: &Value, theil_sen: f64, what: &str) {
    let got = DoubleScores::of(first, second, double, RobustFit::Huber).expect("the fit is determined");
    let huber = list::<f64>(&expected["huber"]);
    close(got.c1, huber[0], 1e-5, &format!("{what}: c1"));
    close(got.c2, huber[1], 1e-5, &format!("{what}: c2"));
    for (name, got) in [
        ("model_fit", got.model_fit),
        ("similarity", got.similarity),
        ("singles_similarity", got.singles_similarity),
        ("equality", got.equality),
    ] {
        close(got.expect("defined"), number(&expected[name]), 1e-5, &format!("{what}: {name}"));
    }
    let (c1, c2) = fit_pair(first, second, double, RobustFit::TheilSen).expect("the fit is determined");
    let expected = list::<f64>(&expected["theil_sen"]);
    close(c1, expected[0], theil_sen, &format!("{what}: Theil-Sen c1"));
    close(c2, expected[1], theil_sen, &format!("{what}: Theil-Sen c2"));
}

#[test]
fn scores_of_a_double_agree_with_python() {
    let reference = &reference("interactions")["double"];
    let [first, second, double] = ["first", "second", "double"].map(|name| list::<f32>(&reference[name]));
    assert_scores([&first, &second, &double], &reference["expected"], 1e-5, "simulated");
}

#[test]
fn planted_doubles_get_their_scores() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let (a, b) = (normal(&mut rng, 0.0, 1.0, 400), normal(&mut rng, 0.0, 1.0, 400));
    let mix = |c1: f32, c2: f32| -> Vec<f32> { a.iter().zip(&b).map(|(a, b)| c1 * a + c2 * b).collect() };
    let of = |double: &[f32]| DoubleScores::of(&a, &b, double, RobustFit::Huber).expect("determined");

    let additive = of(&mix(1.0, 1.0));
    close(additive.c1, 1.0, 1e-6, "c1");
    close(additive.magnitude, std::f64::consts::SQRT_2, 1e-6, "magnitude");
    close(additive.model_fit.expect("defined"), 1.0, 1e-6, "fit");
    let masked = of(&mix(0.9, 0.01));
    assert_eq!(GiKind::Epistasis.holds(&masked), Some(true));
    assert_eq!(GiClass::of(&masked), Some(GiClass::Epistasis));
    assert_eq!(GiClass::of(&of(&mix(1.6, 0.1))), Some(GiClass::Potentiation));
    assert_eq!(GiClass::of(&of(&mix(1.1, 1.0))), Some(GiClass::SynergyDissimilar));
    assert_eq!(GiClass::of(&of(&mix(0.4, 0.4))), Some(GiClass::Suppression));
    assert_eq!(GiKind::Suppression.holds(&of(&mix(0.4, 0.4))), Some(true));
    assert_eq!(GiClass::of(&of(&normal(&mut rng, 0.0, 1.0, 400))), Some(GiClass::Neomorphic));
    // Twenty genes do something else: the fit does not follow them.
    let mut outliers = mix(0.7, 0.6);
    outliers.iter_mut().take(20).for_each(|value| *value += 30.0);
    assert!((of(&outliers).c1 - 0.7).abs() < 0.05, "{:?}", of(&outliers));
    let theil_sen = fit_pair(&a, &b, &outliers, RobustFit::TheilSen).expect("determined");
    assert!((theil_sen.0 - 0.7).abs() < 0.1 && (theil_sen.1 - 0.6).abs() < 0.1, "{theil_sen:?}");
    // No fit, no score.
    assert_eq!(DoubleScores::of(&a, &a, &b, RobustFit::Huber), None);
    let nothing = of(&vec![0.0; 400]);
    assert_eq!((nothing.magnitude, nothing.similarity, GiClass::of(&nothing)), (0.0, None, None));
    assert_eq!(distance_correlation(&a, &vec![1.0; 400]), None);
    close(distance_correlation(&a, &mix(-2.0, 0.0)).expect("defined"), 1.0, 1e-9, "a line");
}

#[test]
fn precision_at_ten_by_hand() {
    let double = |magnitude: f64| {
        Some(DoubleScores {
            c1: magnitude,
            c2: 0.0,
            magnitude,
            model_fit: None,
            similarity: None,
            singles_similarity: None,
            equality: None,
            dominance: None,
        })
    };
    let observed: Vec<_> = (0..20).map(|i| double(if i < 5 { 1.3 } else { 0.9 })).collect();
    let at = |predicted: &[Option<DoubleScores>]| precision_at_k(predicted, &observed, GiKind::Synergy, 10);
    let falling: Vec<_> = (0..20).map(|i| double(2.0 - 0.01 * f64::from(i))).collect();
    assert_eq!(at(&falling), Some(0.5));
    // All the same but for rounding: the expected precision is the share of synergies.
    let equal: Vec<_> = (0..20).map(|i| double(1.414 + 1e-12 * f64::from(i))).collect();
    assert_eq!(at(&equal), Some(0.25));
    assert_eq!(precision_at_k(&falling, &observed, GiKind::Redundancy, 10), None);
    assert_eq!(precision_at_k(&falling[..9], &observed[..9], GiKind::Synergy, 10), None);
}

/// The 76 Norman doubles with both singles: numbers of Python, and how well the scores meet the published classes.
#[test]
fn norman_doubles_agree_with_python_and_with_the_published_classes() {
    let Some(path) = real_data("norman_pseudobulk.h5ad") else { return };
    let reference = &reference("interactions")["norman"];
    let data = Effects::open(path).expect("a valid file");
    let row = |name: &Perturbation| data.perturbations.iter().position(|p| p == name).map(|row| data.values.row(row));
    let published = data.table.column("gi_class").expect("the file has it").to_text();
    let mut doubles = Vec::new();
    let mut strength = vec![0.0_f64; data.genes.len()];
    for (index, double) in data.perturbations.iter().enumerate().filter(|(_, p)| p.genes().len() == 2) {
        let [Some(a), Some(b)] = [0, 1].map(|i| row(&Perturbation::of([&double.genes()[i]]))) else { continue };
        for single in [&a, &b] {
            strength.iter_mut().zip(single).for_each(|(sum, &v)| *sum += f64::from(v) * f64::from(v));
        }
        doubles.push((index, double, a, b));
    }
    assert_eq!(doubles.len(), 76);
    let mut genes: Vec<usize> = (0..strength.len()).collect();
    genes.sort_by(|&i, &j| strength[j].total_cmp(&strength[i]).then(i.cmp(&j)));
    genes.truncate(300);
    genes.sort_unstable();

    let departures: Vec<f32> =
        doubles.iter().flat_map(|(index, _, a, b)| (&data.values.row(*index) - &(a + b)).to_vec()).collect();
    assert_local_fdr(&departures, &reference["local_fdr"]);

    let (mut agree, mut known) = (0, 0);
    let (mut synergy, mut magnitudes) = (Vec::new(), Vec::new());
    for (index, double, a, b) in &doubles {
        let [a, b, ab] = [a.view(), b.view(), data.values.row(*index)]
            .map(|effect| genes.iter().map(|&gene| effect[gene]).collect::<Vec<f32>>());
        assert_scores([&a, &b, &ab], &reference["doubles"][double.to_string()], 1e-3, &double.to_string());
        let scores = DoubleScores::of(&a, &b, &ab, RobustFit::Huber).expect("determined");
        let class = match published[*index].as_deref() {
            Some("ADDITIVE") => GiClass::Additive,
            Some("EPISTASIS") => GiClass::Epistasis,
            Some("NEOMORPHIC") => GiClass::Neomorphic,
            Some("POTENTIATION") => GiClass::Potentiation,
            Some("REDUNDANT") => GiClass::Redundant,
            Some("SUPPRESSOR") => GiClass::Suppression,
            Some("SYNERGY_SIMILAR_PHENO") => GiClass::SynergySimilar,
            Some("SYNERGY_DISSIMILAR_PHENO") => GiClass::SynergyDissimilar,
            _ => continue,
        };
        known += 1;
        agree += usize::from(GiClass::of(&scores) == Some(class));
        magnitudes.push(scores.magnitude as f32);
        synergy.push(matches!(class, GiClass::SynergySimilar | GiClass::SynergyDissimilar | GiClass::Potentiation));
    }
    println!("the rule finds the published class of {agree} of {known} doubles");
    assert_eq!(known, 47);
    assert!(agree >= 18, "the rule finds the published class of {agree} of {known} doubles only");
    let curve = ranking_curve(&magnitudes, &synergy).expect("both kinds are there");
    close(curve.auc, number(&reference["published"]["auc_synergy_huber"]), 1e-5, "AUC of synergy by magnitude");
}
