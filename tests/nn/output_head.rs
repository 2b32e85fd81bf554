//! The last layer of a count decoder and its loss in one operation.

use super::{
    harness::*,
    oracle::{self, Likelihood},
};
use genailab::{
    ErrorKind,
    data::Counts,
    dfdx::prelude::*,
    ndarray::Array2,
    nn::{Backend, CountTarget, Dispersion, LinearLogits, Matrix, Scalar, composed},
};
use std::sync::Arc;

/// What kinds of output there are: theta by gene or by cell and gene, extra zeros or not, a remainder or not.
const KINDS: [(bool, bool, bool); 5] =
    [(true, false, false), (true, false, true), (false, false, false), (true, true, false), (false, true, true)];

fn target(counts: &[f32], library_size: &[f32], with_remainder: bool) -> CountTarget {
    let shape = (library_size.len(), counts.len() / library_size.len());
    let dense = Array2::from_shape_vec(shape, counts.to_vec()).expect("cells x genes");
    CountTarget { counts: Arc::new(Counts::from_dense(&dense)), library_size: library_size.into(), with_remainder }
}

fn some_counts(n: usize, seed: u64) -> Vec<f32> {
    normal(n, seed).iter().map(|x| (4.0 * x).floor().max(0.0)).collect()
}

fn taped(leaf: &Leaf) -> Matrix<Cpu, Taped> {
    match leaf {
        Leaf::Matrix(t) => t.leaky_trace(),
        Leaf::Vector(_) => unreachable!("matrices have tapes here"),
    }
}

/// Which form of the operation.
#[derive(Clone, Copy)]
enum Form {
    /// One kernel.
    Fused,
    /// The CPU's linear layer, likelihood and mean.
    Apart,
    /// dfdx's own operations.
    Composed,
}

/// h, W, b, log_theta (as long as b: by gene) and, perhaps, zero logits to the mean, `(1,)`.
fn head(target: CountTarget, by_gene: bool, form: Form) -> impl Fn(&[Vec<f32>], &[f32]) -> Outcome + Sync {
    move |inputs, upstream| {
        let (cells, genes) = (target.counts.n_cells(), target.counts.n_genes());
        let (h, w, b) = (matrix(&inputs[0], inputs[0].len() / cells), matrix(&inputs[1], genes), vector(&inputs[2]));
        let theta = if by_gene { Leaf::Vector(vector(&inputs[3])) } else { Leaf::Matrix(matrix(&inputs[3], genes)) };
        let zero = inputs.get(4).map(|zero| Leaf::Matrix(matrix(zero, genes)));
        let dispersion = match &theta {
            Leaf::Vector(t) => Dispersion::Gene(t),
            leaf => Dispersion::CellGene(taped(leaf)),
        };
        let logits = LinearLogits { h: h.leaky_trace(), weight: &w, bias: &b };
        let zero_logits = zero.as_ref().map(taped);
        let y: Scalar<Cpu, Taped> = match form {
            Form::Fused => Cpu::output_head(logits, dispersion, zero_logits, &target),
            Form::Composed => composed::output_head(logits, dispersion, zero_logits, &target),
            Form::Apart => Cpu::linear(logits.h, &w, &b)
                .and_then(|logits| Cpu::count_nll(logits, dispersion, zero_logits, &target))
                .map(|nll| nll.mean()),
        }
        .expect("shapes fit");
        let mut leaves = vec![Leaf::Matrix(h), Leaf::Matrix(w), Leaf::Vector(b), theta];
        leaves.extend(zero);
        outcome(y.reshape_like(&(1,)), upstream, &leaves)
    }
}

/// h `(cells, width)`, W, b, log_theta and zero logits; some of the thetas lie beyond their bounds.
fn inputs(cells: usize, width: usize, genes: usize, (by_gene, inflated): (bool, bool)) -> Vec<Vec<f32>> {
    let scaled = |n: usize, seed: u64, scale: f32| normal(n, seed).iter().map(|x| scale * x).collect::<Vec<f32>>();
    let mut all = vec![
        scaled(cells * width, 1, 1.0),
        scaled(width * genes, 2, 1.0 / (width as f32).sqrt()),
        scaled(genes, 3, 0.5),
        scaled(if by_gene { genes } else { cells * genes }, 4, 6.0),
    ];
    all.extend(inflated.then(|| scaled(cells * genes, 5, 2.0)));
    all
}

#[test]
fn all_forms_agree() {
    for (cells, width, genes) in [(1, 1, 2), (1, 5, 37), (7, 3, 300), (19, 33, 65)] {
        for (by_gene, inflated, with_remainder) in KINDS {
            let what = format!("{cells} x {width} x {genes}, by gene {by_gene}, inflated {inflated}");
            let target = target(&some_counts(cells * genes, 6), &vec![300.0; cells], with_remainder);
            let inputs = inputs(cells, width, genes, (by_gene, inflated));
            let run = |form| head(target.clone(), by_gene, form)(&inputs, &[-1.5]);
            let got = run(Form::Fused);
            for (form, name) in [(Form::Apart, "apart"), (Form::Composed, "composed")] {
                let want = run(form);
                close(&format!("{name}, {what}"), &got.output, &wide(&want.output), 1e-6, 1.0);
                for (i, (got, want)) in got.gradients.iter().zip(&want.gradients).enumerate() {
                    // The error of a sum is relative to its largest terms.
                    let largest = want.iter().fold(1.0, |a: f32, b| a.max(b.abs()));
                    let tolerance = 1e-5 * f64::from(largest);
                    close(&format!("gradient {i}, {name}, {what}"), got, &wide(want), tolerance, 1.0);
                }
            }
        }
    }
}

#[test]
fn differences_in_f64_agree() {
    let (cells, width, genes) = (3, 4, 11);
    for (by_gene, inflated, with_remainder) in KINDS {
        let counts = some_counts(cells * genes, 7);
        let library = [50.0, 200.0, 1000.0];
        let mut inputs = inputs(cells, width, genes, (by_gene, inflated));
        inputs[3].iter_mut().for_each(|theta| *theta = theta.clamp(-6.0, 6.0)); // no bound within a difference
        let plain = Likelihood { counts: wide(&counts), library_size: wide(&library), with_remainder };
        let mean = |inputs: &[Vec<f64>]| {
            let mut rest = vec![oracle::linear(&inputs[0], &inputs[1], &inputs[2])];
            rest.extend_from_slice(&inputs[3..]);
            vec![plain.nll(&rest).iter().sum::<f64>() / cells as f64]
        };
        let wide_inputs: Vec<_> = inputs.iter().map(|v| wide(v)).collect();
        let (output, gradients) = oracle::differentiate(&mean, &wide_inputs, &[2.0]);
        let got = head(target(&counts, &library, with_remainder), by_gene, Form::Fused)(&inputs, &[2.0]);
        agree(&format!("by gene {by_gene}, inflated {inflated}"), &got, &output, &gradients, 2e-5);
    }
}

/// The cases of `count_nll`, cell by cell: h is the logits of a cell, W the identity, b zero.
#[test]
fn scvi_tools_agrees() {
    for name in ["nb_gene", "nb_gene_remainder", "nb_cell_gene", "zinb_gene", "zinb_cell_gene_remainder"] {
        let case = reference(name);
        let (cells, by_gene) = (case.library_size.len(), !case.per_cell);
        let genes = case.counts.len() / cells;
        let identity = Array2::eye(genes).into_raw_vec_and_offset().0;
        let mut d_shared_theta = vec![0.0; genes];
        for cell in 0..cells {
            let row = |values: &[f32]| values[cell * genes..(cell + 1) * genes].to_vec();
            let theta = &case.inputs["log_theta"];
            let theta = if by_gene { theta.clone() } else { row(theta) };
            let mut inputs = vec![row(&case.inputs["logits"]), identity.clone(), vec![0.0; genes], theta];
            inputs.extend(case.inputs.get("zero_logits").map(|zero| row(zero)));
            let target = target(&row(&case.counts), &case.library_size[cell..=cell], case.remainder);
            let got = head(target, by_gene, Form::Fused)(&inputs, &case.upstream[cell..=cell]);
            let wanted = |input: &str| case.gradients[input][cell * genes..(cell + 1) * genes].to_vec();
            close(name, &got.output, &case.output[cell..=cell], 2e-5, 1.0);
            close(name, &got.gradients[0], &wanted("logits"), 2e-5, 1.0);
            close(name, &got.gradients[2], &wanted("logits"), 2e-5, 1.0);
            match by_gene {
                true => d_shared_theta.iter_mut().zip(&got.gradients[3]).for_each(|(sum, d)| *sum += d),
                false => close(name, &got.gradients[3], &wanted("log_theta"), 2e-5, 1.0),
            }
            if let Some(d_zero) = got.gradients.get(4) {
                close(name, d_zero, &wanted("zero_logits"), 2e-5, 1.0);
            }
        }
        if by_gene {
            close(name, &d_shared_theta, &case.gradients["log_theta"], 2e-5, 1.0);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let (cells, width, genes) = (70, 40, 130);
    for (by_gene, inflated, with_remainder) in KINDS {
        let target = target(&some_counts(cells * genes, 8), &vec![200.0; cells], with_remainder);
        let inputs = inputs(cells, width, genes, (by_gene, inflated));
        let run = head(target, by_gene, Form::Fused);
        same_bits_with_any_threads("output_head", &|| run(&inputs, &[0.7]));
    }
}

/// Without a tape, blocks of cells are computed one after the other.
#[test]
fn no_tape_gives_the_same_value() {
    let (cells, width, genes) = (300, 6, 21);
    for (by_gene, inflated, with_remainder) in KINDS {
        let target = target(&some_counts(cells * genes, 9), &vec![200.0; cells], with_remainder);
        let inputs = inputs(cells, width, genes, (by_gene, inflated));
        let want = head(target.clone(), by_gene, Form::Fused)(&inputs, &[1.0]).output;
        let (w, b, theta) = (matrix(&inputs[1], genes), vector(&inputs[2]), vector(&inputs[3]));
        let dispersion = match by_gene {
            true => Dispersion::Gene(&theta),
            false => Dispersion::CellGene(matrix(&inputs[3], genes)),
        };
        let logits = LinearLogits { h: matrix(&inputs[0], width), weight: &w, bias: &b };
        let zero = inputs.get(4).map(|zero| matrix(zero, genes));
        let got = Cpu::output_head(logits, dispersion, zero, &target).expect("shapes fit");
        close("mean without a tape", &[got.array()], &wide(&want), 1e-6, 0.0);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let target = target(&[3.0, 0.0, 1.0, 2.0], &[3.0, 3.0], false);
    let call = |h: &Matrix<Cpu>, w: &Matrix<Cpu>, theta: usize| {
        let (b, theta) = (vector(&[0.0; 2]), vector(&vec![0.0; theta]));
        let logits = LinearLogits { h: h.clone(), weight: w, bias: &b };
        Cpu::output_head(logits, Dispersion::Gene(&theta), None, &target).expect_err("does not fit")
    };
    let (h, w) = (matrix(&[0.0; 6], 3), matrix(&[0.0; 6], 2));
    for (error, start) in [
        (call(&matrix(&[0.0; 4], 2), &w, 2), "output_head"),
        (call(&matrix(&[0.0; 9], 3), &w, 2), "count_nll of logits and counts"),
        (call(&h, &w, 3), "count_nll of logits and log_theta"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Shape, "{error}");
        assert!(error.to_string().starts_with(start), "{error}");
    }
}
