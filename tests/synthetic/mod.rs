//! Validation of generated records: numbers of Python, copies, and the command.

use crate::common::root;
use genailab::{
    eval::synthetic::{
        RecordLabels, Records, evaluate, frechet_distance, inception_score, kolmogorov_smirnov, manifold, privacy,
    },
    ndarray::{Array2, Axis, array, concatenate},
    nn::seeded,
};
use rand::Rng;
use rand_distr::StandardNormal;

fn normal(rows: usize, dims: usize, seed: u64) -> Array2<f32> {
    let mut rng = seeded(seed);
    Array2::from_shape_simple_fn((rows, dims), || rng.sample(StandardNormal))
}

/// The points of `tests/reference/frechet.py`.
fn points(rows: usize, dims: usize, phase: f64, scale: f64) -> Array2<f32> {
    Array2::from_shape_fn((rows, dims), |(i, j)| {
        let (i, j) = (i as f64, j as f64);
        let value =
            scale * (0.7 * (i + 1.0) * (j + 1.0) + phase).sin() + 0.3 * (0.11 * i * i + j).cos() + 0.05 * phase * j;
        value as f32
    })
}

#[test]
fn frechet_distances_and_ks_statistics_are_those_of_scipy() {
    let path = root().join("tests/reference/frechet.json");
    let text = std::fs::read_to_string(path).expect("the reference is there");
    let reference: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for case in reference["cases"].as_array().expect("cases") {
        let number = |value: &serde_json::Value| value.as_f64().expect("a number");
        let dims = number(&case["dims"]) as usize;
        let x = points(number(&case["rows"][0]) as usize, dims, 0.0, 1.0);
        let y = points(number(&case["rows"][1]) as usize, dims, number(&case["phase"]), number(&case["scale"]));
        let (found, wanted) = (frechet_distance(x.view(), y.view()).expect("two sets"), number(&case["frechet"]));
        assert!((found - wanted).abs() < 1e-5 * (1.0 + wanted), "{found} and {wanted}");
        for (gene, wanted) in case["ks"].as_array().expect("one per column").iter().enumerate() {
            let column = |of: &Array2<f32>| of.column(gene).mapv(f64::from).to_vec();
            let found = kolmogorov_smirnov(&column(&x), &column(&y));
            assert!((found - number(wanted)).abs() < 1e-9, "column {gene}: {found} and {wanted}");
        }
    }
    let x = normal(30, 4, 0);
    assert!(frechet_distance(x.view(), x.view()).expect("one set").abs() < 1e-9);
    assert!(frechet_distance(x.view(), normal(30, 3, 0).view()).is_err());
}

#[test]
fn records_of_many_genes_are_no_nearer_to_one_half_of_the_real_ones() {
    // In components of one half alone, that half lies farther out, and the preference is well below one half.
    let (train, held_out, fresh) = (normal(300, 200, 1), normal(300, 200, 2), normal(300, 200, 3));
    let records = Records { train: train.view(), held_out: held_out.view(), generated: fresh.view() };
    let found = evaluate(&records, None, 30, 0).expect("records of one width").privacy;
    assert!((found.preference - 0.5).abs() < 3.0 * found.preference_error, "{found:?}");
}

#[test]
fn copies_of_a_large_training_set_are_found_wherever_they_lie() {
    let (train, held_out) = (normal(9_000, 6, 1), normal(200, 6, 2));
    for start in [0, 5_000, 8_900] {
        let copied = train.slice(genailab::ndarray::s![start..start + 100, ..]);
        let found = privacy(copied, train.view(), held_out.view(), 0).expect("records of one width");
        assert_eq!(found.copies, 1.0, "{start}: {found:?}");
    }
}

#[test]
fn copies_are_caught_and_fresh_records_are_not() {
    let (train, held_out, fresh) = (normal(200, 10, 1), normal(200, 10, 2), normal(200, 10, 3));
    let judged = |generated: &Array2<f32>| {
        privacy(generated.view(), train.view(), held_out.view(), 0).expect("records of one width")
    };
    let honest = judged(&fresh);
    assert!(!honest.is_suspect() && honest.copies < 0.01, "{honest:?}");
    assert!((honest.preference - 0.5).abs() < 3.0 * honest.preference_error, "{honest:?}");
    let copied = judged(&train);
    assert!(copied.is_suspect() && copied.copies == 1.0 && copied.preference == 1.0, "{copied:?}");
    let blurred = &train + &(normal(200, 10, 4) * 0.02);
    let near = judged(&blurred);
    assert!(near.is_suspect() && near.copies > 0.9, "copies with a little noise: {near:?}");
    // One record in ten is a copy.
    let some = concatenate![
        Axis(0),
        fresh.slice(genailab::ndarray::s![..180, ..]),
        train.slice(genailab::ndarray::s![..20, ..])
    ];
    let mixed = judged(&some);
    assert!(mixed.is_suspect() && (mixed.copies - 0.1).abs() < 0.011, "{mixed:?}");
}

#[test]
fn one_point_drawn_again_and_again_is_precise_and_covers_nothing() {
    let real = normal(150, 5, 1);
    let alike = manifold(normal(150, 5, 2).view(), real.view()).expect("two sets");
    assert!(alike.precision > 0.85 && alike.recall > 0.85 && alike.coverage > 0.85, "{alike:?}");
    assert!((0.8..1.2).contains(&alike.density), "{alike:?}");
    let centre = normal(150, 5, 3) * 0.01;
    let collapsed = manifold(centre.view(), real.view()).expect("two sets");
    assert!(collapsed.precision > 0.9 && collapsed.recall < 0.2 && collapsed.coverage < 0.3, "{collapsed:?}");
    let away = manifold((normal(150, 5, 4) + 20.0).view(), real.view()).expect("two sets");
    assert!(away.precision == 0.0 && away.coverage == 0.0, "{away:?}");
}

#[test]
fn the_real_records_set_the_ceiling_and_bad_records_are_refused() {
    let (train, held_out) = (normal(120, 20, 1), normal(120, 20, 2));
    let flat = normal(120, 20, 3) * 0.3;
    let judge = |generated: &Array2<f32>| {
        let records = Records { train: train.view(), held_out: held_out.view(), generated: generated.view() };
        evaluate(&records, None, 10, 0)
    };
    let found = judge(&flat).expect("records");
    assert!(found.generated.frechet > 3.0 * found.real.frechet, "{found:?}");
    assert!(found.generated.marginals.ks > 2.0 * found.real.marginals.ks, "{found:?}");
    assert!(found.utility.is_none());
    let mut bad = flat.clone();
    bad[[3, 3]] = f32::NAN;
    for (generated, part) in [(bad, "finite"), (normal(4, 20, 1), "too few"), (normal(50, 19, 1), "fit")] {
        let error = judge(&generated).expect_err("it cannot be judged").to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn inception_scores_are_those_by_hand() {
    let score = |of: &Array2<f64>| inception_score(of.view()).expect("class probabilities");
    assert!((score(&array![[0.3, 0.7], [0.3, 0.7]]) - 1.0).abs() < 1e-12, "alike records say nothing");
    assert!(
        (score(&array![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) - 3.0).abs() < 1e-12,
        "one of each class"
    );
    assert!((score(&array![[1.0, 0.0], [1.0, 0.0]]) - 1.0).abs() < 1e-12, "one class only");
    // p(y) = (0.7, 0.3): KL of the first (0.9, 0.1) 0.9 ln(9/7) + 0.1 ln(1/3) = 0.1163219, of the second (0.5, 0.5)
    // 0.5 ln(5/7) + 0.5 ln(5/3) = 0.0871767.
    assert!((score(&array![[0.9, 0.1], [0.5, 0.5]]) - 0.101_749_3_f64.exp()).abs() < 1e-6);
    assert!(inception_score(Array2::zeros((0, 2)).view()).is_err());
    assert!(inception_score(array![[0.5, 0.6]].view()).unwrap_err().to_string().contains("sum to 1"));
}

#[test]
fn records_of_one_class_have_a_lower_inception_score_than_real_ones() {
    // Two classes, 6 standard deviations apart in one of four columns.
    let labels = |n: usize| (0..n).map(|row| (row % 2) as u32).collect::<Vec<u32>>();
    let of = |seed: u64, classes: u32| {
        let mut x = normal(100, 4, seed);
        (0..100).filter(|row| *row as u32 % classes == 1).for_each(|row| x[[row, 0]] += 6.0);
        x
    };
    let (train, held_out, own) = (of(1, 2), of(2, 2), labels(100));
    let scores = |generated: &Array2<f32>| {
        let records = Records { train: train.view(), held_out: held_out.view(), generated: generated.view() };
        let all = RecordLabels { train: &own, held_out: &own, generated: &own, classes: 2 };
        evaluate(&records, Some(&all), 3, 0).expect("records").utility.expect("labels").inception_score
    };
    // The penalty of the probe keeps its probabilities from 0 and 1, so the score stays below 2.
    let both = scores(&of(3, 2));
    assert!(both.real > 1.6 && both.generated > 1.6, "{both:?}");
    let one = scores(&of(4, 1));
    assert!(one.real > 1.6 && one.generated < 1.1, "{one:?}");
}
