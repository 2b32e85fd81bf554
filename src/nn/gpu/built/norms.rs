//! Layer and batch normalisation. The moments stay on the GPU for the backward pass.

use super::{
    commands::spread,
    kernels::{BATCH_MOMENTS, BATCH_NORM, BATCH_NORM_BACKWARD, BATCH_SUMS, LAYER_NORM, LAYER_NORM_BACKWARD},
    session::{self, backward, id, with},
};
use crate::{
    Result,
    nn::{
        BatchMoments, Matrix, Vector,
        ops::{self, cpu},
        raw,
    },
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};

/// See [`Backend::layer_norm`](crate::nn::Backend::layer_norm).
pub(crate) fn layer_norm<T: Tape<f32, Cpu>>(
    x: Matrix<Cpu, T>,
    weight: &Vector<Cpu>,
    bias: &Vector<Cpu>,
    epsilon: f32,
) -> Result<Matrix<Cpu, T>> {
    ops::check_widths("layer_norm", *x.shape(), &[weight, bias])?;
    let shape @ (rows, width) = *x.shape();
    let len = rows * width;
    if len == 0 || !raw::is_row_major(weight) || !raw::is_row_major(bias) {
        return cpu::layer_norm(x, weight, bias, epsilon);
    }
    let numbers = [rows as u32, width as u32, epsilon.to_bits()];
    let (x, mut tape) = ops::input("layer_norm", x)?;
    let (y, [x_there, weight_there, moments]) = with(|s| {
        let (x_there, weight_there, bias) = (s.activation(&x)?, s.weight(weight)?, s.weight(bias)?);
        let (y, moments) = (s.array(len)?, s.array(2 * rows)?);
        s.run(&LAYER_NORM, &numbers, &[&x_there, &weight_there, &bias, &y, &moments], spread(rows, 1))?;
        let y = s.output("layer_norm", y, shape, x.device(), T::OWNS_TAPE)?;
        Ok((y, [x_there, weight_there, moments]))
    })?;
    if T::OWNS_TAPE {
        let (y, x, weight, bias) = (y.ghost(), x.ghost(), id(weight), id(bias));
        tape.add_backward_op(move |grads| {
            let dy = grads.get_or_alloc_mut(&y)?;
            let dx = backward(|s| {
                let (dy, dx, dy_h) = (s.upload(dy)?, s.array(len)?, s.array(len)?);
                let arrays = [&x_there, &weight_there, &moments, &dy, &dx, &dy_h];
                s.run(&LAYER_NORM_BACKWARD, &numbers, &arrays, spread(rows, 1))?;
                let (d_weight, d_bias) = (s.gradient(weight)?, s.gradient(bias)?);
                s.add_column_sums(&d_weight, &dy_h, rows, width)?;
                s.add_column_sums(&d_bias, &dy, rows, width)?;
                s.read(&dx, len)
            })?;
            session::add_to(grads.get_or_alloc_mut(&x)?, &dx);
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// See [`Backend::batch_norm`](crate::nn::Backend::batch_norm).
pub(crate) fn batch_norm<T: Tape<f32, Cpu>>(
    x: Matrix<Cpu, T>,
    weight: &Vector<Cpu>,
    bias: &Vector<Cpu>,
    epsilon: f32,
) -> Result<(Matrix<Cpu, T>, BatchMoments)> {
    ops::check_widths("batch_norm", *x.shape(), &[weight, bias])?;
    let shape @ (rows, width) = *x.shape();
    let len = rows * width;
    if len == 0 || !raw::is_row_major(weight) || !raw::is_row_major(bias) {
        return cpu::batch_norm(x, weight, bias, epsilon);
    }
    let numbers = [rows as u32, width as u32, epsilon.to_bits()];
    let (x, mut tape) = ops::input("batch_norm", x)?;
    let (y, [x_there, weight_there, moments], host_moments) = with(|s| {
        let (x_there, weight_there, bias) = (s.activation(&x)?, s.weight(weight)?, s.weight(bias)?);
        let (y, moments) = (s.array(len)?, s.array(2 * width)?);
        s.run(&BATCH_MOMENTS, &numbers, &[&x_there, &moments], spread(width, 64))?;
        s.run(&BATCH_NORM, &numbers, &[&x_there, &moments, &weight_there, &bias, &y], spread(len, 256))?;
        let [values, mut mean]: [Vec<f32>; 2] =
            s.read_all(&[(&y, len), (&moments, 2 * width)])?.try_into().expect("two arrays were asked for");
        let variance = mean.split_off(width);
        let host = ops::tensor("batch_norm", values, shape, x.device())?;
        s.keep(&host, y, T::OWNS_TAPE);
        Ok((host, [x_there, weight_there, moments], BatchMoments { mean, variance }))
    })?;
    if T::OWNS_TAPE {
        let (y, x, weight, bias) = (y.ghost(), x.ghost(), id(weight), id(bias));
        tape.add_backward_op(move |grads| {
            let dy = grads.get_or_alloc_mut(&y)?;
            let dx = backward(|s| {
                let (dy, dx, sums) = (s.upload(dy)?, s.array(len)?, s.array(2 * width)?);
                s.run(&BATCH_SUMS, &numbers, &[&x_there, &moments, &dy, &sums], spread(width, 64))?;
                let arrays = [&x_there, &moments, &weight_there, &dy, &sums, &dx];
                s.run(&BATCH_NORM_BACKWARD, &numbers, &arrays, spread(len, 256))?;
                let (d_weight, d_bias) = (s.gradient(weight)?, s.gradient(bias)?);
                s.add(&d_weight, &sums, 0, width)?;
                s.add(&d_bias, &sums, width, width)?;
                s.read(&dx, len)
            })?;
            session::add_to(grads.get_or_alloc_mut(&x)?, &dx);
            Ok(())
        });
    }
    Ok((y.put_tape(tape), host_moments))
}
