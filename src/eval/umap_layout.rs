//! The layout step of UMAP: stochastic gradient descent that pulls the ends of an edge together and pushes random
//! pairs apart.
//!
//! With `q(x) = 1 / (1 + a x^(2b))` the similarity of two points at distance x, an edge of weight w is visited in a share
//! of `w / max w` of the epochs, and each visit (McInnes et al., section 4.2 and umap-learn's `layouts.py`)
//!
//! ```text
//! pulls both ends by   -2 a b x^(2(b-1)) / (1 + a x^(2b))                 (y_i - y_j) alpha
//! pushes its head by    2 b / ((0.001 + x^2) (1 + a x^(2b)))              (y_i - y_k) alpha     for 5 random k
//! ```
//!
//! each component of a step clipped to 4, alpha falling linearly from 1 to 0. One thread, one seeded generator.

use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Random points pushed away at each visit of an edge; umap-learn's `negative_sample_rate`.
const NEGATIVE_SAMPLES: usize = 5;
/// Keeps the push between coinciding points finite; umap-learn's constant.
const PUSH_SOFTENING: f32 = 0.001;
/// Largest component of a step, before the learning rate; umap-learn's constant.
const STEP_LIMIT: f32 = 4.0;
/// Spread of the noise that separates coinciding starting points.
const JITTER: f32 = 1e-4;

/// Moves the points `start` `(cells, 2)` along `edges` (head, tail, weight); `(a, b)` as above.
pub(super) fn layout(
    start: Array2<f32>,
    edges: Vec<(u32, u32, f32)>,
    (a, b): (f32, f32),
    n_epochs: usize,
    seed: u64,
) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut points: Vec<[f32; 2]> = start
        .rows()
        .into_iter()
        .map(|row| [row[0] + JITTER * rng.random::<f32>(), row[1] + JITTER * rng.random::<f32>()])
        .collect();
    let heaviest = edges.iter().map(|&(_, _, weight)| weight).fold(0.0, f32::max);
    // An edge too light to be visited once is left out.
    let edges: Vec<_> = edges.into_iter().filter(|e| e.2 * n_epochs as f32 >= heaviest && e.0 != e.1).collect();
    let period: Vec<f32> = edges.iter().map(|&(_, _, weight)| heaviest / weight).collect();
    let mut due = period.clone();

    for epoch in 0..n_epochs {
        let alpha = 1.0 - epoch as f32 / n_epochs as f32;
        for (edge, &(head, tail, _)) in edges.iter().enumerate() {
            if due[edge] > epoch as f32 {
                continue;
            }
            due[edge] += period[edge];
            let (head, tail) = (head as usize, tail as usize);
            let (difference, square) = between(points[head], points[tail]);
            if square > 0.0 {
                let power = libm::powf(square, b); // x^(2b)
                let pull = -2.0 * a * b * power / (square * (1.0 + a * power));
                let step = step(difference, pull, alpha);
                points[head] = [points[head][0] + step[0], points[head][1] + step[1]];
                points[tail] = [points[tail][0] - step[0], points[tail][1] - step[1]];
            }
            for _ in 0..NEGATIVE_SAMPLES {
                let other = rng.random_range(0..points.len() as u32) as usize;
                let (difference, square) = between(points[head], points[other]);
                if other != head && square > 0.0 {
                    let push = 2.0 * b / ((PUSH_SOFTENING + square) * (1.0 + a * libm::powf(square, b)));
                    let step = step(difference, push, alpha);
                    points[head] = [points[head][0] + step[0], points[head][1] + step[1]];
                }
            }
        }
    }
    Array2::from(points)
}

/// Difference of two points and its squared length.
fn between(from: [f32; 2], to: [f32; 2]) -> ([f32; 2], f32) {
    let difference = [from[0] - to[0], from[1] - to[1]];
    (difference, difference[0] * difference[0] + difference[1] * difference[1])
}

fn step(difference: [f32; 2], coefficient: f32, alpha: f32) -> [f32; 2] {
    difference.map(|d| (coefficient * d).clamp(-STEP_LIMIT, STEP_LIMIT) * alpha)
}
