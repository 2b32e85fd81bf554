//! A benchmark told in words, tables and figures: `benchmark.report()`.
//!
//! | file | what |
//! |---|---|
//! | `verdict` | the sentences at the top, from the numbers |
//! | `apart` | singles and combinations, where both are judged |
//! | `populations` | predicted cells against observed ones, in words |
//! | `perturbations` | a row and a point a perturbation |
//! | `table` | models x headline metrics, the rule for bold, what is absent |
//! | `figures` | the figures of a benchmark, each also a method for notebooks |
//! | `card` | a model card: what it is, where it works, where it fails, what it costs |
//! | `page` | all of it, from top to bottom |
//! | `view`, `metrics` | numbers looked up by model and condition; which metrics stand where |

mod apart;
mod card;
mod figures;
mod metrics;
mod page;
mod perturbations;
mod populations;
mod table;
mod verdict;
mod view;

pub use verdict::verdict;

use super::models::is_better;
