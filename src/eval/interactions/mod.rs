//! Genetic interactions: does a double perturbation do what its two singles together would do?
//!
//! | file | question |
//! |---|---|
//! | `density` | the density of many values: Poisson regression of histogram counts on a natural cubic spline |
//! | `null` | the centre of a distribution as a normal: maximum likelihood inside a window |
//! | `local_fdr` | from which size on is a departure from additivity no noise? (Efron's local false discovery rate) |
//! | `curve` | are the true interactions at the top of the predicted ones? (TP/FDP curve, AUPRC, AUC) |
//! | `robust` | `AB = c1 A + c2 B` without regard to outliers (Huber; Theil-Sen) |
//! | `distance` | distance correlations of two singles and their double |
//! | `double` | the scores, kinds and class of a double by its fit to the singles (Norman, GEARS) |

mod curve;
mod density;
mod distance;
mod double;
mod local_fdr;
mod null;
mod robust;

pub use curve::{CurvePoint, RankingCurve, ranking_curve};
pub use distance::distance_correlation;
pub use double::{DoubleScores, GiClass, GiKind, precision_at_k};
pub use local_fdr::{GeneInteraction, LocalFdr, Thresholds};
pub use robust::{RobustFit, fit_pair};
