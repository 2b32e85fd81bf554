//! The shaders by name, each with the parts that it is made of.

/// One shader: an entry point `main` behind the shared parts.
pub(super) struct Kernel {
    pub(super) name: &'static str,
    parts: &'static [&'static str],
}

impl Kernel {
    /// The whole of it, in WGSL.
    pub(super) fn source(&self) -> String {
        self.parts.concat()
    }
}

const HEADER: &str = include_str!("shaders/header.wgsl");
const MATH: &str = include_str!("shaders/math.wgsl");
const REDUCE: &str = include_str!("shaders/reduce.wgsl");
const ACTIVATION: &str = include_str!("shaders/activation_body.wgsl");
const NB: &str = include_str!("shaders/nb.wgsl");
const NB_CELL: &str = include_str!("shaders/nb_cell.wgsl");
const ATTENTION: &str = include_str!("shaders/attention_parts.wgsl");
/// `LOG_THETA_MIN` and `LOG_THETA_MAX` of the likelihood; a test holds the two against each other.
const BOUNDS: &str = "const LOG_THETA_MIN: f32 = -13.8;\nconst LOG_THETA_MAX: f32 = 19.5;\n";

/// Declares the shaders, and the list of all of them.
macro_rules! kernels {
    ($($constant:ident = $file:literal, [$($part:ident),*];)*) => {
        $(pub(super) const $constant: Kernel = Kernel {
            name: $file,
            parts: &[HEADER, $($part,)* include_str!(concat!("shaders/", $file, ".wgsl"))],
        };)*
        const ALL: &[&Kernel] = &[$(&$constant),*];
    };
}

kernels! {
    GEMM = "gemm", [];
    COLUMN_SUMS = "column_sums", [];
    ADD = "add", [];
    SPARSE = "sparse", [];
    ACTIVATE = "activation", [MATH, ACTIVATION];
    ACTIVATE_BACKWARD = "activation_backward", [MATH, ACTIVATION];
    LAYER_NORM = "layer_norm", [REDUCE];
    LAYER_NORM_BACKWARD = "layer_norm_backward", [REDUCE];
    BATCH_MOMENTS = "batch_moments", [];
    BATCH_NORM = "batch_norm", [];
    BATCH_SUMS = "batch_sums", [];
    BATCH_NORM_BACKWARD = "batch_norm_backward", [];
    COUNT_NLL = "count_nll", [BOUNDS, MATH, REDUCE, NB, NB_CELL];
    COUNT_NLL_BACKWARD = "count_nll_backward", [BOUNDS, MATH, REDUCE, NB, NB_CELL];
    ATTENTION_WEIGHTS = "attention_weights", [MATH, REDUCE, ATTENTION];
    ATTENTION_OUTPUT = "attention_output", [ATTENTION];
    ATTENTION_BACKWARD = "attention_backward", [ATTENTION];
    ATTENTION_DQ = "attention_dq", [ATTENTION];
    ATTENTION_DKV = "attention_dkv", [ATTENTION];
    ADAM = "adam", [];
    SQUARED_NORM = "squared_norm", [REDUCE];
}

/// Name and WGSL source of every shader.
#[doc(hidden)]
pub fn shaders() -> Vec<(&'static str, String)> {
    ALL.iter().map(|kernel| (kernel.name, kernel.source())).collect()
}
