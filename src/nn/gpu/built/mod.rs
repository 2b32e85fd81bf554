//! The backend itself; see the module above it.

mod activation;
mod adam;
mod adapter;
mod attention;
mod commands;
mod context;
mod count_nll;
mod kernels;
mod norms;
mod product;
mod session;
mod sparse;

pub use adapter::adapters;
pub use kernels::shaders;
pub use session::{Entered, enter, gradient, is_active};

/// The operations by the names of [`Backend`](crate::nn::Backend).
pub(crate) mod ops {
    pub(crate) use super::{
        activation::activation,
        adam::{adam, is_resident, refresh, squared_norm, values},
        attention::attention,
        count_nll::{count_nll, output_head},
        norms::{batch_norm, layer_norm},
        product::linear,
        session::{begin_step, failure, forget, start_afresh},
        sparse::{embedding_sum, sparse_linear},
    };
}
