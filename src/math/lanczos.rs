//! Leading eigenvectors of a large symmetric operator of which only products with a vector are known.
//!
//! Lanczos iteration with full reorthogonalisation (Golub and Van Loan, sections 10.1 and 10.3): after m products, the operator is
//! a tridiagonal matrix in an orthonormal basis of m vectors, and the eigenvectors of that small matrix give those of the operator.
//! The iteration goes on until the residual `|A v - lambda v|` of each wanted pair is below [`TOLERANCE`].
//! It separates eigenvalues that are close to 1, as those of a random walk are, in far fewer products than the block iteration of
//! [`Pca`](super::Pca), whose stopping rule looks at eigenvalues alone.
//!
//! Of an eigenvalue that occurs several times, one copy is found before the others; the others follow once the basis has become
//! invariant. Memory: `8 m n` bytes, with m at most [`MOST_STEPS`].

use super::symmetric_eigen;
use ndarray::{Array1, Array2};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Largest residual of a wanted pair at which the iteration ends, for an operator of norm 1.
pub(crate) const TOLERANCE: f64 = 1e-9;
/// Vectors of the basis after which the iteration ends anyway.
const MOST_STEPS: usize = 600;
/// The small eigenproblem is solved first after this number of steps beyond those wanted, and then after each growth by a quarter.
const FIRST_CHECK: usize = 20;

/// The leading eigenvectors of an operator.
#[derive(Debug, Clone)]
pub(crate) struct Leading {
    /// Eigenvalues, largest first, `(count,)`.
    pub values: Array1<f64>,
    /// Orthonormal eigenvectors, `(count, n)`.
    pub vectors: Array2<f64>,
    /// The largest residual; above [`TOLERANCE`] where the iteration ended early.
    pub residual: f64,
}

/// The `count` largest eigenvalues of the symmetric operator `product` on vectors of length `n`, and their eigenvectors; at most
/// `n` of them. The start is drawn by `seed`.
pub(crate) fn leading_eigenvectors(
    n: usize,
    count: usize,
    seed: u64,
    product: impl Fn(&Array1<f64>) -> Array1<f64>,
) -> Leading {
    let count = count.min(n);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut random = || Array1::from_shape_simple_fn(n, || -> f64 { StandardNormal.sample(&mut rng) });
    let mut basis: Vec<Array1<f64>> = Vec::new();
    let (mut diagonal, mut beside) = (Vec::new(), Vec::new());
    let mut next = random();
    next /= norm(&next);
    let mut check = count + FIRST_CHECK;
    loop {
        let mut rest = product(&next);
        let size = norm(&rest);
        diagonal.push(next.dot(&rest));
        basis.push(next);
        orthogonalise(&mut rest, &basis);
        let (steps, left) = (basis.len(), norm(&rest));
        let is_invariant = left <= 16.0 * f64::EPSILON * size.max(f64::MIN_POSITIVE);
        let is_last = steps == n || steps >= MOST_STEPS.max(count);
        // An invariant basis has residuals of 0 whatever it lacks, so it does not end the iteration.
        if is_last || steps >= check && !is_invariant {
            check = steps + steps / 4;
            let (values, of_basis) = ritz(&diagonal, &beside);
            let residual = (0..count).map(|i| of_basis[[i, steps - 1]].abs() * left).fold(0.0, f64::max);
            if is_last || residual <= TOLERANCE {
                let values = values.iter().take(count).copied().collect();
                return Leading { values, vectors: combined(&of_basis, &basis, count), residual };
            }
        }
        beside.push(if is_invariant { 0.0 } else { left });
        if is_invariant {
            rest = random();
            orthogonalise(&mut rest, &basis);
        }
        rest /= norm(&rest);
        next = rest;
    }
}

/// Eigenvalues, largest first, and eigenvectors (rows) of the tridiagonal matrix.
fn ritz(diagonal: &[f64], beside: &[f64]) -> (Array1<f64>, Array2<f64>) {
    let mut small = Array2::zeros((diagonal.len(), diagonal.len()));
    diagonal.iter().enumerate().for_each(|(i, &value)| small[[i, i]] = value);
    for (i, &value) in beside.iter().enumerate() {
        (small[[i, i + 1]], small[[i + 1, i]]) = (value, value);
    }
    symmetric_eigen(small)
}

/// The first `count` eigenvectors in the space of the operator, `(count, n)`.
fn combined(of_basis: &Array2<f64>, basis: &[Array1<f64>], count: usize) -> Array2<f64> {
    let mut vectors = Array2::zeros((count, basis[0].len()));
    for (coefficients, mut vector) in of_basis.rows().into_iter().zip(vectors.rows_mut()) {
        coefficients.iter().zip(basis).for_each(|(&by, direction)| vector.scaled_add(by, direction));
    }
    vectors
}

/// Takes what lies in the span of the orthonormal `basis` off a vector, twice, which is enough for machine precision (Giraud et
/// al. 2005).
fn orthogonalise(vector: &mut Array1<f64>, basis: &[Array1<f64>]) {
    for _ in 0..2 {
        for direction in basis {
            let overlap = direction.dot(vector);
            vector.scaled_add(-overlap, direction);
        }
    }
}

fn norm(vector: &Array1<f64>) -> f64 {
    vector.dot(vector).sqrt()
}
