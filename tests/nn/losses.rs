//! Losses of embeddings and VICReg's terms: fused, composed, plain loops, PyTorch.

use super::{harness::*, oracle};
use genailab::{
    ErrorKind,
    dfdx::prelude::*,
    nn::{Backend, EmbeddingLoss, composed, info_nce, layer_normed, vicreg},
};

const TOLERANCE: f64 = 1e-5;
const LOSSES: [(&str, EmbeddingLoss); 3] = [
    ("smooth_l1", EmbeddingLoss::SmoothL1 { beta: 0.7 }),
    ("l2", EmbeddingLoss::L2),
    ("cosine", EmbeddingLoss::Cosine),
];

fn plain(loss: EmbeddingLoss, p: &[f64], t: &[f64], width: usize) -> f64 {
    let errors = p.iter().zip(t).map(|(p, t)| p - t);
    match loss {
        EmbeddingLoss::L2 => errors.map(|e| e * e).sum::<f64>() / p.len() as f64,
        EmbeddingLoss::SmoothL1 { beta } => {
            let beta = f64::from(beta);
            errors.map(|e| if e.abs() < beta { 0.5 * e * e / beta } else { e.abs() - 0.5 * beta }).sum::<f64>()
                / p.len() as f64
        }
        EmbeddingLoss::Cosine => {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let rows = p.chunks(width).zip(t.chunks(width));
            rows.map(|(p, t)| 1.0 - dot(p, t) / (dot(p, p) * dot(t, t)).sqrt()).sum::<f64>() / (p.len() / width) as f64
        }
    }
}

fn embedding(
    is_fused: bool,
    loss: EmbeddingLoss,
    target: &[f32],
    width: usize,
) -> impl Fn(&[Vec<f32>], &[f32]) -> Outcome + Sync {
    move |inputs, upstream| {
        let (p, t) = (matrix(&inputs[0], width), matrix(target, width));
        let f: fn(_, &_, _) -> _ = if is_fused { Cpu::embedding_loss } else { composed::embedding_loss };
        let y = f(p.leaky_trace(), &t, loss).expect("shapes fit");
        outcome(y.reshape_like(&(1,)), upstream, &[Leaf::Matrix(p)])
    }
}

#[test]
fn embedding_losses_agree() {
    // 70 rows: more than two blocks of the kernel.
    let (width, target) = (5, normal(350, 1));
    let values = [normal(350, 2)];
    for (name, loss) in LOSSES {
        let f = |i: &[Vec<f64>]| vec![plain(loss, &i[0], &wide(&target), width)];
        let (output, gradients) = oracle::differentiate(&f, &[wide(&values[0])], &[70.0]);
        for is_fused in [true, false] {
            let got = embedding(is_fused, loss, &target, width)(&values, &[70.0]);
            agree(&format!("{name}, fused {is_fused}"), &got, &output, &gradients, TOLERANCE);
        }
        let case = reference(name);
        matches_reference(name, &["prediction"], &embedding(true, loss, &case.target, 4), TOLERANCE);
        let normed = layer_normed(&matrix(&case.target, 4)).expect("memory").as_vec();
        matches_reference(&format!("{name}_normed"), &["prediction"], &embedding(true, loss, &normed, 4), 1e-4);
    }
}

#[test]
fn one_row_is_enough_for_a_loss_and_two_for_vicreg() {
    for (name, loss) in LOSSES {
        let (target, values) = ([0.5, -1.0, 2.0], [vec![1.5, 0.25, 1.0]]);
        let (want, got) = (embedding(false, loss, &target, 3), embedding(true, loss, &target, 3));
        let want = want(&values, &[1.0]);
        agree(name, &got(&values, &[1.0]), &wide(&want.output), &[wide(&want.gradients[0])], TOLERANCE);
    }
    // Means 1 and 4, variances 2 and 0.5, covariance -1.
    let z = [vec![0.0, 4.5, 2.0, 3.5]];
    let got = term(vicreg::variance, 2)(&z, &[1.0]);
    close("variance", &got.output, &[0.5 * (1.0 - 0.5001f64.sqrt())], TOLERANCE, 1.0);
    close("covariance", &term(vicreg::covariance, 2)(&z, &[1.0]).output, &[1.0], TOLERANCE, 1.0);
}

#[test]
fn a_zero_prediction_has_a_cosine_loss_and_a_finite_gradient() {
    let got = embedding(true, EmbeddingLoss::Cosine, &[1.0, 2.0], 2)(&[vec![0.0, 0.0]], &[1.0]);
    assert_eq!(got.output, [1.0]);
    assert!(got.gradients[0].iter().all(|g| g.is_finite()), "{:?}", got.gradients);
}

type Term = fn(Tensor<(usize, usize), f32, Cpu, Taped>) -> genailab::Result<Tensor<Rank0, f32, Cpu, Taped>>;

type Plain<'a> = &'a dyn Fn(&[Vec<f64>]) -> Vec<f64>;

fn term(f: Term, width: usize) -> impl Fn(&[Vec<f32>], &[f32]) -> Outcome + Sync {
    move |inputs, upstream| {
        let z = matrix(&inputs[0], width);
        outcome(f(z.leaky_trace()).expect("rows enough").reshape_like(&(1,)), upstream, &[Leaf::Matrix(z)])
    }
}

fn covariances(z: &[f64], width: usize) -> Vec<f64> {
    let rows = z.len() / width;
    let mean = |j: usize| z.iter().skip(j).step_by(width).sum::<f64>() / rows as f64;
    let means: Vec<_> = (0..width).map(mean).collect();
    let pair = |i: usize, j: usize| {
        z.chunks(width).map(|row| (row[i] - means[i]) * (row[j] - means[j])).sum::<f64>() / (rows - 1) as f64
    };
    (0..width * width).map(|at| pair(at / width, at % width)).collect()
}

#[test]
fn vicreg_terms_agree() {
    let width = 5;
    // Features of small and of large spread: the hinge is open for some and closed for others.
    let spread = |(at, z): (usize, &f32)| 4.0 + z * 0.5 * (1 + at % width) as f32;
    let values: [Vec<f32>; 1] = [normal(60, 3).iter().enumerate().map(spread).collect()];
    let variance = |i: &[Vec<f64>]| {
        let c = covariances(&i[0], width);
        vec![(0..width).map(|j| (1.0 - (c[j * (width + 1)] + 1e-4).sqrt()).max(0.0)).sum::<f64>() / width as f64]
    };
    let covariance = |i: &[Vec<f64>]| {
        let c = covariances(&i[0], width);
        vec![
            c.iter().enumerate().filter(|(at, _)| at % (width + 1) != 0).map(|(_, c)| c * c).sum::<f64>()
                / width as f64,
        ]
    };
    let terms: [(&str, Term, Term, Plain<'_>); 2] = [
        ("vicreg_variance", vicreg::variance, composed::vicreg_variance, &variance),
        ("vicreg_covariance", vicreg::covariance, composed::vicreg_covariance, &covariance),
    ];
    for (name, fused, composed, plain) in terms {
        let (output, gradients) = oracle::differentiate(plain, &[wide(&values[0])], &[10.0]);
        agree(&format!("{name}, fused"), &term(fused, width)(&values, &[10.0]), &output, &gradients, TOLERANCE);
        agree(&format!("{name}, composed"), &term(composed, width)(&values, &[10.0]), &output, &gradients, 1e-4);
        matches_reference(name, &["z"], &term(fused, 4), TOLERANCE);
    }
    let invariance = |inputs: &[Vec<f32>], upstream: &[f32]| {
        let (a, b) = (matrix(&inputs[0], 4), matrix(&inputs[1], 4));
        let y = vicreg::invariance(a.leaky_trace(), b.leaky_trace()).expect("shapes fit");
        outcome(y.reshape_like(&(1,)), upstream, &[Leaf::Matrix(a), Leaf::Matrix(b)])
    };
    matches_reference("vicreg_invariance", &["a", "b"], &invariance, TOLERANCE);
}

#[test]
fn contrast_agrees() {
    let (rows, width, temperature) = (7, 5, 0.4);
    let plain = |i: &[Vec<f64>]| {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let row = |view: usize, at: usize| &i[view][at * width..(at + 1) * width];
        let cosine = |at: usize, to: usize| {
            let (a, b) = (row(0, at), row(1, to));
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt() / f64::from(temperature)
        };
        let of_row = |at: usize| {
            let found = (0..rows).map(|to| cosine(at, to).exp()).sum::<f64>().ln();
            let back = (0..rows).map(|from| cosine(from, at).exp()).sum::<f64>().ln();
            found + back - 2.0 * cosine(at, at)
        };
        vec![(0..rows).map(of_row).sum::<f64>() / (2 * rows) as f64]
    };
    let contrast = |temperature: f32, width: usize| {
        move |inputs: &[Vec<f32>], upstream: &[f32]| {
            let (a, b) = (matrix(&inputs[0], width), matrix(&inputs[1], width));
            let y = info_nce(a.leaky_trace(), b.leaky_trace(), temperature).expect("shapes fit");
            outcome(y.reshape_like(&(1,)), upstream, &[Leaf::Matrix(a), Leaf::Matrix(b)])
        }
    };
    let values = [normal(rows * width, 4), normal(rows * width, 5)];
    let (output, gradients) = oracle::differentiate(&plain, &[wide(&values[0]), wide(&values[1])], &[3.0]);
    agree("info_nce", &contrast(temperature, width)(&values, &[3.0]), &output, &gradients, 1e-4);
    matches_reference("info_nce", &["a", "b"], &contrast(0.3, 4), 1e-4);
    let x = matrix(&[0.0; 6], 3);
    assert!(info_nce(x.clone(), x.clone(), 0.0).is_err() && info_nce(x, matrix(&[0.0; 6], 2), 1.0).is_err());
    // A row of zeros is as far from all others, and its gradient is finite.
    let zeros = [vec![0.0, 0.0, 1.0, 0.0], vec![1.0, 0.0, 0.0, 1.0]];
    let got = contrast(1.0, 2)(&zeros, &[1.0]);
    assert!(got.gradients.iter().flatten().all(|g| g.is_finite()), "{:?}", got.gradients);
}

#[test]
fn what_has_no_loss_is_refused() {
    let (x, none) = (matrix(&[0.0; 6], 3), Cpu::default().zeros_like(&(0, 3)));
    let error = EmbeddingLoss::L2.forward(x.clone(), &matrix(&[0.0; 6], 2)).expect_err("other shapes");
    assert_eq!(error.kind(), ErrorKind::Shape);
    let fails = [
        EmbeddingLoss::L2.forward(none.clone(), &none).err(),
        EmbeddingLoss::SmoothL1 { beta: 0.0 }.forward(x.clone(), &x).err(),
        vicreg::variance(matrix(&[1.0, 2.0], 2)).err(),
        vicreg::covariance(matrix(&[1.0, 2.0], 2)).err(),
        vicreg::invariance(none.clone(), none).err(),
    ];
    assert!(fails.iter().all(|e| e.as_ref().is_some_and(|e| e.kind() == ErrorKind::Config)), "{fails:?}");
}

#[test]
fn threads_do_not_change_a_bit() {
    let (width, target) = (64, normal(64 * 300, 4));
    let values = [normal(64 * 300, 5)];
    for (name, loss) in LOSSES {
        same_bits_with_any_threads(name, &|| embedding(true, loss, &target, width)(&values, &[1.0]));
    }
    same_bits_with_any_threads("covariance", &|| term(vicreg::covariance, width)(&values, &[1.0]));
}
