//! Weights by name: moved for a finite difference, and their gradients read.

use genailab::{
    dfdx::prelude::{Cpu, Gradients, Shape, Tensor},
    nn::{Visitor, VisitorMut},
};

/// Adds `step` to one element of one named tensor.
pub struct Nudge<'a> {
    pub name: &'a str,
    pub element: usize,
    pub step: f32,
}

impl VisitorMut<Cpu> for Nudge<'_> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &mut Tensor<S, f32, Cpu>) -> genailab::Result<()> {
        if name == self.name {
            let mut values = tensor.as_vec();
            values[self.element] += self.step;
            tensor.copy_from(&values);
        }
        Ok(())
    }
}

/// Largest gradient of each tensor: name, element, value.
pub struct Steepest<'a> {
    pub gradients: &'a mut Gradients<f32, Cpu>,
    pub found: Vec<(String, usize, f32)>,
}

impl Visitor<Cpu> for Steepest<'_> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, Cpu>) -> genailab::Result<()> {
        let gradient = self.gradients.get_or_alloc_mut(tensor).expect("memory for a small gradient");
        let (element, value) = gradient
            .iter()
            .copied()
            .enumerate()
            .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
            .expect("a weight has elements");
        self.found.push((name.to_owned(), element, value));
        Ok(())
    }
}

/// The whole gradient of one named tensor.
pub struct Whole<'a> {
    pub gradients: &'a mut Gradients<f32, Cpu>,
    pub name: &'a str,
    pub found: Vec<f32>,
}

impl Visitor<Cpu> for Whole<'_> {
    fn param<S: Shape>(&mut self, name: &str, tensor: &Tensor<S, f32, Cpu>) -> genailab::Result<()> {
        if name == self.name {
            self.found = self.gradients.get_or_alloc_mut(tensor).expect("memory for a small gradient").to_vec();
        }
        Ok(())
    }
}
