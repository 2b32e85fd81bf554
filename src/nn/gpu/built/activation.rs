//! Element-wise nonlinearities.

use super::{
    commands::spread,
    kernels::{ACTIVATE, ACTIVATE_BACKWARD},
    session::{self, backward, with},
};
use crate::{
    Result,
    nn::{
        Activation, Matrix,
        ops::{self, cpu},
    },
};
use dfdx::prelude::{Cpu, HasShape, PutTape, Tape};

/// See [`Backend::activation`](crate::nn::Backend::activation).
pub(crate) fn activation<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, activation: Activation) -> Result<Matrix<Cpu, T>> {
    let shape = *x.shape();
    let len = shape.0 * shape.1;
    if len == 0 {
        return cpu::activation(x, activation);
    }
    let kind = match activation {
        Activation::Silu => 0,
        Activation::Gelu => 1,
        Activation::Relu => 2,
    };
    let numbers = [len as u32, kind];
    let (x, mut tape) = ops::input("activation", x)?;
    let (y, there) = with(|s| {
        let there = s.activation(&x)?;
        let y = s.array(len)?;
        s.run(&ACTIVATE, &numbers, &[&there, &y], spread(len, 256))?;
        Ok((s.output("activation", y, shape, x.device(), T::OWNS_TAPE)?, there))
    })?;
    if T::OWNS_TAPE {
        let (y, x) = (y.ghost(), x.ghost());
        tape.add_backward_op(move |grads| {
            let dy = grads.get_or_alloc_mut(&y)?;
            let dx = backward(|s| {
                let (dy, dx) = (s.upload(dy)?, s.array(len)?);
                s.run(&ACTIVATE_BACKWARD, &numbers, &[&there, &dy, &dx], spread(len, 256))?;
                s.read(&dx, len)
            })?;
            session::add_to(grads.get_or_alloc_mut(&x)?, &dx);
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}
