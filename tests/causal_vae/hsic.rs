//! HSIC against scikit-learn and dcor, whose numbers `tests/reference/hsic.py` made, and its gradient.

use genailab::{
    dfdx::prelude::{Backward, Cpu, NoneTape, Tape, Trace},
    ndarray::{Array2, Axis, s},
    nn::{IndexSets, Matrix, Scalar, ops},
};
use serde_json::Value;

const ROWS: usize = 24;

fn reference(name: &str) -> f64 {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/hsic.json");
    let text = std::fs::read_to_string(path).expect("it is in the repository");
    serde_json::from_str::<Value>(&text).expect("JSON")[name].as_f64().expect("a number")
}

/// The points of the reference.
fn points() -> (Array2<f32>, Array2<f32>) {
    let x = Array2::from_shape_fn((ROWS, 3), |(i, j)| (0.7 * (i + 1) as f64 * (j + 1) as f64).sin() as f32);
    let y = Array2::from_shape_fn((ROWS, 2), |(i, j)| {
        ((0.3 * (i + 1) as f64).cos() + 0.5 * (1.3 * (i + 1) as f64 * (j + 2) as f64).sin()) as f32
    });
    (x, y)
}

fn up(values: &Array2<f32>) -> Matrix<Cpu> {
    ops::upload(&Cpu::default(), values).expect("memory")
}

fn value(k: Matrix<Cpu>, l: Matrix<Cpu>) -> f64 {
    f64::from(ops::to_f32(&ops::hsic(k, l).expect("square")))
}

#[test]
fn it_is_that_of_scikit_learn_and_dcor() {
    let (x, y) = points();
    let gram = |values, gamma| ops::gaussian_gram(up(values), gamma).expect("it fits");
    let near = |found: f64, name: &str| {
        let wanted = reference(name);
        assert!((found - wanted).abs() < 1e-6 + 1e-5 * wanted, "{name}: {found} {wanted}");
    };
    near(value(gram(&x, 0.5), gram(&y, 1.25)), "gaussian");
    let sets: [&[u32]; 4] = [&[], &[0], &[1], &[0, 1]];
    let of_rows = IndexSets::from_sets((0..ROWS).map(|row| sets[row % 4]));
    near(value(gram(&x, 0.5), up(&ops::set_gram(&of_rows))), "sets");
    let distances = |z: &Array2<f32>| {
        Array2::from_shape_fn((ROWS, ROWS), |(i, j)| -(&z.row(i) - &z.row(j)).iter().map(|v| v * v).sum::<f32>().sqrt())
    };
    near(value(up(&distances(&x)), up(&distances(&y))), "distance_covariance_squared");
}

#[test]
fn what_is_beyond_chance_is_0_on_average_over_permutations() {
    let (x, y) = points();
    let (x, y) = (x.slice(s![..4, ..]).to_owned(), y.slice(s![..4, ..]).to_owned());
    let gram = |values: &Array2<f32>| ops::gaussian_gram(up(values), 0.7).expect("it fits");
    let beyond = |order: [usize; 4]| {
        let permuted = ops::hsic_beyond_chance(gram(&x), gram(&y.select(Axis(0), &order))).expect("square");
        f64::from(ops::to_f32(&permuted))
    };
    let mut all = Vec::new();
    for code in 0..256_usize {
        let order = [code % 4, code / 4 % 4, code / 16 % 4, code / 64];
        if (0..4).all(|row| order.contains(&row)) {
            all.push(beyond(order));
        }
    }
    assert_eq!(all.len(), 24);
    assert!((all.iter().sum::<f64>() / 24.0).abs() < 1e-6, "{all:?}");
    assert!(all.iter().any(|value| value.abs() > 1e-3), "single permutations are not 0: {all:?}");
    let error = ops::hsic_beyond_chance(up(&Array2::ones((1, 1))), up(&Array2::ones((1, 1)))).expect_err("refused");
    assert!(error.to_string().contains("two rows"), "{error}");
}

fn of_both<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, y: &Matrix<Cpu>) -> Scalar<Cpu, T> {
    let k = ops::gaussian_gram(x, 0.5).expect("it fits");
    let l = ops::gaussian_gram(y.retaped::<T>(), 1.25).expect("it fits");
    ops::hsic_beyond_chance(k, l).expect("square")
}

#[test]
fn its_gradients_are_difference_quotients() {
    let (x, y) = points();
    let (on_x, on_y) = (up(&x), up(&y));
    let gradients = of_both(on_x.leaky_trace(), &on_y).backward();
    for (which, tensor) in [("x", &on_x), ("y", &on_y)] {
        let slopes = gradients.get(tensor).as_vec();
        let place = (0..slopes.len()).max_by(|&a, &b| slopes[a].abs().total_cmp(&slopes[b].abs())).expect("values");
        let at = |step: f32| {
            let (mut x, mut y) = (x.clone(), y.clone());
            let moved = if which == "x" { &mut x } else { &mut y };
            *moved.iter_mut().nth(place).expect("a place of it") += step;
            f64::from(ops::to_f32(&of_both::<NoneTape>(up(&x), &up(&y))))
        };
        let quotient = (at(0.02) - at(-0.02)) / 0.04;
        let slope = f64::from(slopes[place]);
        assert!((slope - quotient).abs() < 0.02 * quotient.abs() + 1e-6, "{which}[{place}]: {slope} {quotient}");
    }
}

#[test]
fn matrices_that_are_not_square_are_refused() {
    let wide = up(&Array2::zeros((3, 4)));
    let error = ops::hsic(wide.clone(), wide).expect_err("refused").to_string();
    assert!(error.contains("hsic") && error.contains("(3, 4)"), "{error}");
}
