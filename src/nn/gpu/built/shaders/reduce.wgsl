// Sum or largest value over a workgroup of 64 threads; every thread gets it.

var<workgroup> shared_values: array<f32, 64>;

fn sum_of_group(thread: u32, value: f32) -> f32 {
    workgroupBarrier();
    shared_values[thread] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if thread < half {
            shared_values[thread] += shared_values[thread + half];
        }
        workgroupBarrier();
    }
    return shared_values[0];
}

fn max_of_group(thread: u32, value: f32) -> f32 {
    workgroupBarrier();
    shared_values[thread] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if thread < half {
            shared_values[thread] = max(shared_values[thread], shared_values[thread + half]);
        }
        workgroupBarrier();
    }
    return shared_values[0];
}
