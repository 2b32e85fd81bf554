//! The probes against scikit-learn (tests/reference/probe.py), and their words.

use genailab::{
    ErrorKind,
    eval::{
        LinearProbe, ProbeConfig, accuracy, balanced_accuracy, compare_embeddings, knn_purity, knn_purity_held_out,
    },
    ndarray::{Array2, ArrayView2, array, s},
};

#[derive(serde::Deserialize)]
struct Reference {
    x: Vec<Vec<f32>>,
    labels: Vec<u32>,
    cells: usize,
    classes: usize,
    fits: Vec<Fit>,
    k: usize,
    purity: f64,
    purity_held_out: f64,
}

#[derive(serde::Deserialize)]
struct Fit {
    c: f64,
    coefficients: Vec<Vec<f64>>,
    intercepts: Vec<f64>,
    accuracy: f64,
    balanced_accuracy: f64,
}

fn reference() -> (Reference, Array2<f32>) {
    let reference: Reference =
        serde_json::from_str(include_str!("../reference/probe.json")).expect("its script's form");
    let x = Array2::from_shape_fn((reference.x.len(), reference.x[0].len()), |(i, j)| reference.x[i][j]);
    (reference, x)
}

#[test]
fn linear_probe_is_scikit_learns() {
    let (reference, x) = reference();
    let n = reference.cells;
    let (train, test): (ArrayView2<'_, f32>, _) = (x.slice(s![..n, ..]), x.slice(s![n.., ..]));
    for fit in &reference.fits {
        let config = ProbeConfig { c: fit.c, ..ProbeConfig::default() };
        let probe = LinearProbe::fit(train, &reference.labels[..n], reference.classes, &config).expect("it fits");
        assert!(probe.converged());
        let (weights, bias) = probe.coefficients();
        for (class, row) in fit.coefficients.iter().enumerate() {
            for (column, expected) in row.iter().enumerate() {
                let got = weights[[class, column]];
                assert!((got - expected).abs() < 1e-3, "C {}: {got} {expected}", fit.c);
            }
            assert!((bias[class] - fit.intercepts[class]).abs() < 1e-3, "C {}: {bias}", fit.c);
        }
        let predicted = probe.predict(test).expect("the same width");
        let right = accuracy(&predicted, &reference.labels[n..]).expect("as many");
        assert!((right - fit.accuracy).abs() < 1e-9, "{right} {}", fit.accuracy);
        let balanced = balanced_accuracy(&predicted, &reference.labels[n..]).expect("as many");
        assert!((balanced - fit.balanced_accuracy).abs() < 1e-9, "{balanced} {}", fit.balanced_accuracy);
    }
}

#[test]
fn purity_is_scikit_learns() {
    let (reference, x) = reference();
    let n = reference.cells;
    let (train, test) = (x.slice(s![..n, ..]), x.slice(s![n.., ..]));
    let own = knn_purity(train, &reference.labels[..n], reference.k).expect("enough cells");
    assert!((own - reference.purity).abs() < 1e-9, "{own} {}", reference.purity);
    let other = knn_purity_held_out((train, &reference.labels[..n]), (test, &reference.labels[n..]), reference.k);
    let other = other.expect("enough cells");
    assert!((other - reference.purity_held_out).abs() < 1e-9, "{other} {}", reference.purity_held_out);
}

#[test]
fn the_better_embedding_is_named() {
    let labels: Vec<u32> = (0..90).map(|cell| cell % 3).collect();
    let good = Array2::from_shape_fn((90, 3), |(i, j)| if i % 3 == j { 5.0 } else { (i % 7) as f32 * 0.1 });
    let bad = Array2::from_shape_fn((90, 2), |(i, j)| ((i * 31 + j * 17) % 11) as f32);
    let (train, held_out): (Vec<usize>, Vec<usize>) = ((0..60).collect(), (60..90).collect());
    let config = ProbeConfig { neighbours: 5, ..ProbeConfig::default() };
    let compared =
        compare_embeddings(&[("noise", bad.view()), ("classes", good.view())], &labels, &train, &held_out, &config);
    let compared = compared.expect("they fit");
    let best = compared.score("classes").expect("it was given");
    assert_eq!((best.accuracy, best.balanced_accuracy, best.purity), (1.0, 1.0, 1.0));
    assert!((compared.majority - 1.0 / 3.0).abs() < 1e-9 && (compared.chance_purity - 1.0 / 3.0).abs() < 1e-9);
    let words = compared.verdict();
    assert!(words.contains("Linear probe: classes is best with 1.000; noise 0."), "{words}");
    assert!(words.contains("kNN purity: classes is best"), "{words}");
}

#[test]
fn what_cannot_be_probed_is_refused() {
    let z = array![[1.0_f32, 2.0], [3.0, 4.0], [5.0, 7.0]];
    let config = ProbeConfig::default();
    let one_class = LinearProbe::fit(z.view(), &[1, 1, 1], 2, &config).expect_err("one class");
    assert_eq!(one_class.kind(), ErrorKind::Inapplicable);
    assert!(LinearProbe::fit(z.view(), &[0, 1], 2, &config).is_err());
    assert!(LinearProbe::fit(z.view(), &[0, 1, 2], 2, &config).is_err());
    assert!(LinearProbe::fit(z.view(), &[0, 1, 0], 2, &ProbeConfig { c: 0.0, ..config }).is_err());
    assert!(LinearProbe::fit(array![[f32::NAN], [1.0]].view(), &[0, 1], 2, &config).is_err());
    assert!(knn_purity(z.view(), &[0, 1, 0], 3).is_err() && knn_purity(z.view(), &[0, 1, 0], 0).is_err());
    assert!(knn_purity_held_out((z.view(), &[0, 1, 0]), (z.view(), &[0, 1, 0]), 4).is_err());
}
