//! Is a prediction nearest to the perturbation that it is of? A model that predicts the same for every perturbation does
//! well in a mean error and is found out here.
//!
//! | | ranks | value |
//! |---|---|---|
//! | [`discrimination_score`] | the observed effects by their distance to a predicted one | `1 - rank0 / n` |
//! | [`centroid_accuracy`] | the same | observed effects that are farther than the right one `/ (n - 1)` |
//! | [`perturbench_rank`] | the predicted effects by their distance to an observed one | `rank0 / (n - 1)` |
//!
//! Of n perturbations; rank0 counts from 0. Equal distances count half (their expected place over all orders), where the
//! tools take whatever order their sort leaves, or shuffle.

/// How far two effects are from each other, in several ways at once.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Separation {
    absolute: f64,
    squared: f64,
    product: f64,
    x_squared: f64,
    y_squared: f64,
}

impl Separation {
    /// Of `x` and `y`, both `(genes,)`; of the shorter length where they differ.
    pub fn new(x: &[f32], y: &[f32]) -> Self {
        const LANES: usize = 8;
        let n = x.len().min(y.len());
        let (x, y) = (&x[..n], &y[..n]);
        let mut lanes = [[0.0_f64; LANES]; 5];
        let (whole_x, rest_x) = x.as_chunks::<LANES>();
        let (whole_y, rest_y) = y.as_chunks::<LANES>();
        for (x, y) in whole_x.iter().zip(whole_y) {
            for lane in 0..LANES {
                let terms = Self::of_gene(x[lane], y[lane]).parts();
                (0..5).for_each(|part| lanes[part][lane] += terms[part]);
            }
        }
        let mut parts = lanes.map(|lanes| lanes.iter().sum::<f64>());
        for (&x, &y) in rest_x.iter().zip(rest_y) {
            parts.iter_mut().zip(Self::of_gene(x, y).parts()).for_each(|(sum, term)| *sum += term);
        }
        let [absolute, squared, product, x_squared, y_squared] = parts;
        Self { absolute, squared, product, x_squared, y_squared }
    }

    #[inline(always)]
    fn of_gene(x: f32, y: f32) -> Self {
        let (x, y) = (f64::from(x), f64::from(y));
        let difference = x - y;
        Self {
            absolute: difference.abs(),
            squared: difference * difference,
            product: x * y,
            x_squared: x * x,
            y_squared: y * y,
        }
    }

    #[inline(always)]
    fn parts(self) -> [f64; 5] {
        [self.absolute, self.squared, self.product, self.x_squared, self.y_squared]
    }

    /// The same without a gene that has the value `x` in one and `y` in the other.
    #[must_use]
    pub fn without(self, x: f32, y: f32) -> Self {
        let gene = Self::of_gene(x, y);
        Self {
            absolute: (self.absolute - gene.absolute).max(0.0),
            squared: (self.squared - gene.squared).max(0.0),
            product: self.product - gene.product,
            x_squared: (self.x_squared - gene.x_squared).max(0.0),
            y_squared: (self.y_squared - gene.y_squared).max(0.0),
        }
    }

    /// Manhattan distance: `sum |x - y|`.
    pub fn l1(self) -> f64 {
        self.absolute
    }

    /// Euclidean distance.
    pub fn l2(self) -> f64 {
        self.squared.sqrt()
    }

    /// Cosine distance: `1 - x y / (|x| |y|)`; NaN where one of them is zero.
    pub fn cosine(self) -> f64 {
        1.0 - self.product / (self.x_squared.sqrt() * self.y_squared.sqrt())
    }
}

/// The Virtual Cell Challenge's perturbation discrimination score (PDS; cell-eval `discrimination_score`): with
/// `distances` of a predicted effect to every observed one, and `own` the place of the one it is of, `1 - rank0 / n`.
/// 1 is best, about 0.5 random, and 0 is never reached. cell-eval leaves the column of the perturbed gene out.
///
/// `None` for fewer than two perturbations, or if a distance is NaN.
pub fn discrimination_score(distances: &[f64], own: usize) -> Option<f64> {
    Some(1.0 - place(distances, own)? / distances.len() as f64)
}

/// Systema's centroid accuracy (Viñas Torné et al., Nature Biotechnology 2025): with Euclidean `distances` of a predicted
/// centroid to every observed one, the share of the others that are farther than the right one,
/// `#(d_j > d_own, j != own) / (n - 1)`.
///
/// `None` for fewer than two perturbations, or if a distance is NaN.
pub fn centroid_accuracy(distances: &[f64], own: usize) -> Option<f64> {
    place(distances, own)?;
    let farther = distances.iter().filter(|&&distance| distance > distances[own]).count();
    Some(farther as f64 / (distances.len() - 1) as f64)
}

/// PerturBench's rank (Wu et al. 2024): with `distances` of an observed effect to every predicted one, the place of the
/// right prediction among all, `rank0 / (n - 1)`: the denominator of the 2025 code (that of 2024 was n). 0 is best, 0.5
/// random.
///
/// `None` for fewer than two predictions, or if a distance is NaN.
pub fn perturbench_rank(distances: &[f64], own: usize) -> Option<f64> {
    Some(place(distances, own)? / (distances.len() - 1) as f64)
}

/// Place of `own` from 0: nearer ones, and half of those as near.
fn place(distances: &[f64], own: usize) -> Option<f64> {
    if distances.len() < 2 || distances.iter().any(|distance| distance.is_nan()) {
        return None;
    }
    let mine = *distances.get(own)?;
    let nearer = distances.iter().filter(|&&distance| distance < mine).count();
    let as_near = distances.iter().filter(|&&distance| distance == mine).count() - 1;
    Some(nearer as f64 + as_near as f64 / 2.0)
}
