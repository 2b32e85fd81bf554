//! Levels 1 and 2 of the JEPA: from sets of control cells to the set of perturbed cells, in embedding space.
//!
//! A [`CellJepa`](super::CellJepa) is pretrained on the training cells and its embeddings standardised. A gene g is known
//! by its shift d_g, the mean embedding of the cells in which it was perturbed alone less that of the control cells of
//! their context. A control cell h under the genes G becomes
//!
//! ```text
//! z' = h + s sum_{g in G} d_g + c F(h, {d_g})          s: fitted to combinations (1 for one gene); F starts at 0
//! ```
//!
//! so a prediction starts from the scaled sum, and F learns the departure from it. Level 1 compares the set of z' with the
//! set of perturbed cells as sets. Level 2 pairs each moved control cell with perturbed cells by entropic optimal transport
//! and learns from pairs. The share c of the departure is what serves best on training combinations that F did not see;
//! it may be 0. A decoder from embeddings to negative binomial counts, with the fold changes that embeddings do not carry,
//! gives cells and effects.
//!
//! | file | what |
//! |---|---|
//! | `config` | the settings |
//! | `cells`, `shifts` | embedded cells by condition; what each gene does to them |
//! | `source` | the sets of control and perturbed cells that are trained on |
//! | `sinkhorn`, `pairs` | entropic optimal transport; pseudo-pairs, inside the training fold |
//! | `net` | F and its losses |
//! | `members` | the networks of all folds, and the share of the departure |
//! | `decoder` | from embeddings to counts |
//! | `offsets` | fold changes that embeddings do not carry |
//! | `quantile` | a control cell's counts under another mean |
//! | `reference` | the control cells that a model carries with it |
//! | `fit`, `contract` | the model as users meet it: settings, training, files |
//!
//! Sources: Szekely and Rizzo 2013 (energy distance), Cuturi 2013 and Schmitzer 2019 (Sinkhorn in the log domain),
//! Bunne et al. 2023 (optimal transport for perturbations of cells, which are measured once and so come in no pairs).

mod cells;
mod config;
mod contract;
mod decoder;
mod fit;
mod members;
mod net;
mod offsets;
mod pairs;
mod quantile;
mod reference;
mod shifts;
mod sinkhorn;
mod source;

pub use config::{Drawing, Level, SetLoss, SetsConfig};
pub use contract::{JepaPairs, JepaSets, SetsSettings};
pub use fit::{Choice, SetsJepa};
pub use pairs::{PairConfig, pseudo_pairs};
pub use sinkhorn::{Coupling, SinkhornConfig, sinkhorn, squared_distances};
