//! The count likelihood.

use super::{
    harness::*,
    oracle::{self, Likelihood},
};
use genailab::{
    ErrorKind,
    data::Counts,
    dfdx::prelude::*,
    ndarray::Array2,
    nn::{Backend, CountTarget, Dispersion, LOG_THETA_MAX, LOG_THETA_MIN, Matrix, Vector, composed},
};
use std::sync::Arc;

fn target(counts: &[f32], library_size: &[f32], with_remainder: bool) -> CountTarget {
    let shape = (library_size.len(), counts.len() / library_size.len());
    let dense = Array2::from_shape_vec(shape, counts.to_vec()).expect("cells x genes");
    CountTarget { counts: Arc::new(Counts::from_dense(&dense)), library_size: library_size.into(), with_remainder }
}

fn taped(leaf: &Leaf) -> Matrix<Cpu, Taped> {
    match leaf {
        Leaf::Matrix(t) => t.leaky_trace(),
        Leaf::Vector(_) => unreachable!("matrices have tapes here"),
    }
}

/// Logits, log_theta (as long as a row: by gene) and, perhaps, zero logits to negative log-likelihoods.
fn nll(target: CountTarget, is_fused: bool) -> impl Fn(&[Vec<f32>], &[f32]) -> Outcome + Sync {
    move |inputs, upstream| {
        let genes = target.counts.n_genes();
        let is_by_gene = inputs[1].len() == genes;
        let leaves: Vec<Leaf> = (0..inputs.len())
            .map(|i| match i {
                1 if is_by_gene => Leaf::Vector(vector(&inputs[1])),
                _ => Leaf::Matrix(matrix(&inputs[i], genes)),
            })
            .collect();
        let theta = match &leaves[1] {
            Leaf::Vector(t) => Dispersion::Gene(t),
            leaf => Dispersion::CellGene(taped(leaf)),
        };
        let f = if is_fused { Cpu::count_nll } else { composed::count_nll };
        let y: Vector<Cpu, Taped> = f(taped(&leaves[0]), theta, leaves.get(2).map(taped), &target).expect("shapes fit");
        outcome(y, upstream, &leaves)
    }
}

#[test]
fn scvi_tools_agrees() {
    for name in ["nb_gene", "nb_gene_remainder", "nb_cell_gene", "zinb_gene", "zinb_cell_gene_remainder"] {
        let case = reference(name);
        assert_eq!(case.per_cell, name.contains("cell_gene"));
        let mut order = vec!["logits", "log_theta"];
        order.extend(case.inputs.contains_key("zero_logits").then_some("zero_logits"));
        let target = target(&case.counts, &case.library_size, case.remainder);
        matches_reference(name, &order, &nll(target.clone(), true), 2e-5);
        matches_reference(name, &order, &nll(target, false), 2e-5);
    }
}

/// Counts from 0 to 10,000 against dispersions from 1e-4 to 1e8 and means from nothing to everything.
fn extremes(by_gene: bool, inflated: bool) -> (Vec<f32>, Vec<f32>, Vec<Vec<f32>>) {
    let (cells, genes) = (6, 37);
    let count = [0.0, 0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 7.0, 0.0, 30.0, 0.0, 1.0, 400.0, 0.0, 10_000.0, 0.0, 2.5];
    let counts: Vec<f32> = (0..cells * genes).map(|i| count[i % count.len()]).collect();
    let library: Vec<f32> = (0..cells).map(|c| 10f32.powi(c as i32)).collect();
    let logits = normal(cells * genes, 1).iter().map(|x| 6.0 * x).collect();
    let n_theta = if by_gene { genes } else { cells * genes };
    let log_theta = (0..n_theta).map(|i| [-9.0, -3.0, 0.0, 1.4, 4.0, 9.0, 18.0][i % 7] + 0.005 * i as f32).collect();
    let mut inputs = vec![logits, log_theta];
    inputs.extend(inflated.then(|| normal(cells * genes, 2).iter().map(|x| 8.0 * x).collect::<Vec<f32>>()));
    (counts, library, inputs)
}

#[test]
fn extremes_agree_with_f64() {
    for (by_gene, inflated, with_remainder) in
        [(true, false, false), (true, false, true), (false, false, false), (true, true, false), (false, true, true)]
    {
        let what = format!("by gene {by_gene}, inflated {inflated}, remainder {with_remainder}");
        let (counts, library, inputs) = extremes(by_gene, inflated);
        let plain = Likelihood { counts: wide(&counts), library_size: wide(&library), with_remainder };
        let wide_inputs: Vec<_> = inputs.iter().map(|v| wide(v)).collect();
        let upstream = [1.0, -0.5, 2.0, 0.25, 1.5, 0.125];
        let (output, gradients) = oracle::differentiate(&|i| plain.nll(i), &wide_inputs, &upstream);
        for (is_fused, name) in [(true, "fused"), (false, "composed")] {
            let got = nll(target(&counts, &library, with_remainder), is_fused)(&inputs, &upstream);
            close(&format!("{name}, {what}"), &got.output, &output, 3e-6, 1.0);
            for (got, want) in got.gradients.iter().zip(&gradients) {
                // A gradient is a sum of terms as large as the largest; the error is relative to that.
                let largest = want.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
                close(&format!("gradient, {name}, {what}"), got, want, 1e-6 * largest.max(10.0), 1.0);
            }
        }
    }
}

#[test]
fn theta_is_clamped_and_its_gradient_ends_there() {
    let target = target(&[3.0, 0.0, 1.0], &[4.0], false);
    let logits = vec![0.1, 0.2, 0.3];
    let beyond = vec![LOG_THETA_MAX + 5.0, LOG_THETA_MIN - 5.0, 0.0];
    let bounds = vec![LOG_THETA_MAX, LOG_THETA_MIN, 0.0];
    for is_fused in [true, false] {
        let run = |theta: &Vec<f32>| nll(target.clone(), is_fused)(&[logits.clone(), theta.clone()], &[1.0]);
        assert_eq!(run(&beyond).output, run(&bounds).output);
        let gradient = &run(&beyond).gradients[1];
        assert!(gradient[0] == 0.0 && gradient[1] == 0.0 && gradient[2] != 0.0, "{gradient:?}");
    }
}

#[test]
fn no_tape_gives_the_same_values() {
    let (counts, library, inputs) = extremes(true, true);
    let target = target(&counts, &library, true);
    let want = nll(target.clone(), true)(&inputs, &[1.0; 6]).output;
    let (logits, theta, zero) = (matrix(&inputs[0], 37), vector(&inputs[1]), matrix(&inputs[2], 37));
    let got = Cpu::count_nll(logits, Dispersion::Gene(&theta), Some(zero), &target).expect("shapes fit");
    assert_eq!(got.as_vec(), want);
}

#[test]
fn one_cell_that_is_not_a_number_does_not_hide() {
    let target = target(&[3.0, 0.0, 1.0, 2.0], &[3.0, 3.0], false);
    for bad in [f32::NAN, f32::INFINITY] {
        let out = nll(target.clone(), true)(&[vec![0.0, bad, 0.0, 0.0], vec![0.0; 2]], &[1.0; 2]).output;
        assert!(out[0].is_nan() && out[1].is_finite(), "{out:?}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let (cells, genes) = (70, 130);
    let counts: Vec<f32> = normal(cells * genes, 3).iter().map(|x| (4.0 * x).floor().max(0.0)).collect();
    let library = vec![200.0; cells];
    for by_gene in [true, false] {
        let n_theta = if by_gene { genes } else { cells * genes };
        let inputs = [normal(cells * genes, 4), normal(n_theta, 5), normal(cells * genes, 6)];
        let run = nll(target(&counts, &library, false), true);
        same_bits_with_any_threads("count_nll", &|| run(&inputs, &normal(cells, 7)));
    }
}

#[test]
fn one_tensor_may_be_two_inputs() {
    let target = target(&[3.0, 0.0, 1.0, 2.0], &[3.0, 3.0], false);
    let values = vec![0.3, -0.2, 0.5, 0.1];
    let apart = nll(target.clone(), true)(&[values.clone(), values.clone(), values.clone()], &[1.0; 2]);
    let x = matrix(&values, 2);
    let theta = Dispersion::CellGene(x.leaky_trace());
    let y = Cpu::count_nll(x.leaky_trace(), theta, Some(x.leaky_trace()), &target).expect("shapes fit");
    let together = outcome(y, &[1.0; 2], &[Leaf::Matrix(x)]);
    let sum: Vec<f64> = (0..4).map(|i| apart.gradients.iter().map(|g| f64::from(g[i])).sum()).collect();
    close("sum of the three gradients", &together.gradients[0], &sum, 1e-6, 1.0);
}

#[test]
fn what_does_not_fit_is_named() {
    let fits = target(&[3.0, 0.0, 1.0, 2.0], &[3.0, 3.0], false);
    let (logits, theta) = (matrix(&[0.0; 4], 2), vector(&[0.0; 2]));
    let call = |logits: &Matrix<Cpu>, theta: &Vector<Cpu>, zero: Option<Matrix<Cpu>>, target: &CountTarget| {
        Cpu::count_nll(logits.clone(), Dispersion::Gene(theta), zero, target).expect_err("does not fit")
    };
    let wide = matrix(&[0.0; 6], 3);
    for error in [
        call(&wide, &theta, None, &fits),
        call(&logits, &vector(&[0.0; 3]), None, &fits),
        call(&logits, &theta, Some(wide), &fits),
        call(&logits, &theta, None, &CountTarget { library_size: [1.0].into(), ..fits.clone() }),
    ] {
        assert_eq!(error.kind(), ErrorKind::Shape, "{error}");
        assert!(error.to_string().starts_with("count_nll of logits and "), "{error}");
    }
    let empty_cell = CountTarget { library_size: [3.0, 0.0].into(), ..fits };
    let error = call(&logits, &theta, None, &empty_cell);
    assert!(error.to_string().contains("the library size of cell 1 of the batch is 0"), "{error}");
}
