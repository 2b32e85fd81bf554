// What the passes of attention share. `whole`: queries, heads, features per head w, keys; `real(4)`: 1 / sqrt(w);
// `whole(5)`: dropout threshold (0: none), `real(6)`: factor of the weights that are kept.
//
// The weights of a query and head lie together: those of query q and head h from queries[q].weights + h n_keys on.

struct Query {
    weights: u32,
    first_key: u32,
    n_keys: u32,
    unused: u32,
}

struct Key {
    first_query: u32,
    n_queries: u32,
    number: u32, // of the key, in its set
    unused: u32,
}

// `WeightDropout::factor`.
fn dropout_factor(key: u32, j: u32) -> f32 {
    if whole(5u) == 0u {
        return 1.0;
    }
    var x = key + j * 0x9e3779b9u;
    x = (x ^ (x >> 16u)) * 0x7feb352du;
    x = (x ^ (x >> 15u)) * 0x846ca68bu;
    x = x ^ (x >> 16u);
    return select(real(6u), 0.0, x < whole(5u));
}
