//! Which adapter the rows of a batch go through.
//!
//! A pass knows no adapter, one, or several that each have some consecutive examples of the batch: the
//! frozen matrices are then read once for all of them.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};

use super::kernel::{self, GroupedLora, Part, line};
use crate::adapter::{Adapter, Lora, Target};

/// Adapters, and how many examples of a batch go through each, in the batch's order.
#[derive(Debug, Clone)]
pub struct AdapterGroups {
    groups: Vec<Group>,
}

#[derive(Debug, Clone)]
struct Group {
    adapter: Adapter,
    extent: Extent,
}

/// What a group has of a batch.
#[derive(Debug, Clone, Copy)]
struct Extent {
    examples: usize,
    /// Of all its examples.
    rows: usize,
    /// Of its longest example.
    seq: usize,
}

impl AdapterGroups {
    /// Adapters with the lengths of their examples.
    pub fn new<'a>(groups: impl IntoIterator<Item = (Adapter, &'a [usize])>) -> Self {
        let group = |(adapter, seq_lengths): (Adapter, &[usize])| Group {
            adapter,
            extent: Extent {
                examples: seq_lengths.len(),
                rows: seq_lengths.iter().sum(),
                seq: seq_lengths.iter().copied().max().unwrap_or(0),
            },
        };
        Self {
            groups: groups.into_iter().map(group).collect(),
        }
    }

    /// The adapters, each with the places of its examples in the batch.
    pub(super) fn examples(&self) -> impl Iterator<Item = (&Adapter, Range<usize>)> {
        let mut end = 0;
        self.groups.iter().map(move |group| {
            let start = end;
            end += group.extent.examples;
            (&group.adapter, start..end)
        })
    }
}

/// The adapters of a pass.
#[derive(Debug, Clone, Copy)]
pub(super) enum Adapters<'a> {
    /// The frozen model alone.
    Nothing,
    /// All examples go through one.
    One(&'a Adapter),
    /// Each group of examples goes through its own.
    Groups(&'a AdapterGroups),
}

impl<'a> Adapters<'a> {
    /// What is beside a projection.
    pub(super) fn beside(self, layer: usize, target: Target) -> Beside<'a> {
        match self {
            Self::Nothing => Beside::Nothing,
            Self::One(adapter) => match adapter.lora(layer, target) {
                Some(lora) => Beside::One(lora),
                None => Beside::Nothing,
            },
            Self::Groups(AdapterGroups { groups }) => {
                let member = |group: &'a Group| Member {
                    lora: group.adapter.lora(layer, target),
                    extent: group.extent,
                };
                let members: Vec<_> = groups.iter().map(member).collect();
                match members.iter().any(|member| member.lora.is_some()) {
                    true => Beside::Groups(Members(members)),
                    false => Beside::Nothing,
                }
            }
        }
    }
}

/// What is beside one projection.
#[derive(Debug)]
pub(super) enum Beside<'a> {
    Nothing,
    One(Lora<'a>),
    Groups(Members<'a>),
}

/// What each group has beside one projection; at least one has something.
#[derive(Debug)]
pub(super) struct Members<'a>(Vec<Member<'a>>);

#[derive(Debug)]
struct Member<'a> {
    lora: Option<Lora<'a>>,
    extent: Extent,
}

impl Members<'_> {
    /// What [`Lora::forward`] gives of each group's own rows, zero where it has nothing here.
    ///
    /// # Shapes
    ///
    /// - x: `[1, rows, d_in]` where examples lie one behind the other, else `[batch, seq, d_in]`; all
    ///   positions, or the first of each example
    /// - output: as x, `d_out` wide
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.drop_out(x);
        // A batch of one example is the same in both layouts.
        let is_packed = x.dims()[0] == 1;
        if is_packed && kernel::supports(&x) {
            self.forward_packed(x)
        } else {
            self.forward_sliced(&x, usize::from(is_packed))
        }
    }

    fn forward_packed(&self, x: Tensor<3>) -> Tensor<3> {
        let counts = self.counts(&x);
        let part = |(member, rows): (&Member<'_>, usize)| Part {
            rows,
            rank: member
                .lora
                .as_ref()
                .map_or(0, |lora| lora.factors()[0].dims()[1]),
            scale: member.lora.as_ref().map_or(0.0, Lora::scale),
        };
        let parts = self.0.iter().zip(counts).map(part).collect();
        let loras = || self.0.iter().filter_map(|member| member.lora.as_ref());
        let all = |at: usize| {
            let lines = loras().map(|lora| line(lora.factors()[at].clone()));
            Tensor::cat(lines.collect(), 1)
        };
        let d_out = self.d_out();
        kernel::apply(GroupedLora { parts, d_out }, [x, all(0), all(1)])
    }

    /// By the library, along `dim`.
    fn forward_sliced(&self, x: &Tensor<3>, dim: usize) -> Tensor<3> {
        let mut first = 0;
        let outputs = self.0.iter().zip(self.counts(x)).map(|(member, count)| {
            let own = x.clone().narrow(dim, first, count);
            first += count;
            match &member.lora {
                Some(lora) => lora.without_dropout().forward(own),
                None => {
                    let [outer, inner, _] = own.dims();
                    Tensor::zeros([outer, inner, self.d_out()], &x.device())
                }
            }
        });
        Tensor::cat(outputs.collect(), dim)
    }

    fn d_out(&self) -> usize {
        let mut loras = self.0.iter().filter_map(|member| member.lora.as_ref());
        loras.next().map_or(0, |lora| lora.factors()[1].dims()[1])
    }

    /// What each group has of the axis that examples lie along.
    fn counts(&self, x: &Tensor<3>) -> Vec<usize> {
        let [outer, inner, _] = x.dims();
        let rows: usize = self.0.iter().map(|member| member.extent.rows).sum();
        let extents = self.0.iter().map(|member| member.extent);
        let of_rows = outer == 1 && inner == rows;
        extents
            .map(|extent| {
                if of_rows {
                    extent.rows
                } else {
                    extent.examples
                }
            })
            .collect()
    }

    /// Dropout as each group has it when it is alone: with its own seed, and of as many positions as
    /// its own examples then have.
    fn drop_out(&self, x: Tensor<3>) -> Tensor<3> {
        let dropout = |member: &Member<'_>| member.lora.as_ref().and_then(Lora::dropout);
        if !self.0.iter().any(|member| dropout(member).is_some()) {
            return x;
        }
        let [outer, inner, d_in] = x.dims();
        let mut values = Vec::with_capacity(outer * inner * d_in);
        for (member, count) in self.0.iter().zip(self.counts(&x)) {
            // Numbers that are drawn in a row, how often, and what lies between.
            let (own, times, between) = match outer {
                1 => (count * d_in, 1, 0),
                _ => {
                    let seq = member.extent.seq.min(inner);
                    (seq * d_in, count, (inner - seq) * d_in)
                }
            };
            let mut factors = dropout(member).map(|dropout| dropout.factors());
            for _ in 0..times {
                match &mut factors {
                    Some(factors) => values.extend(factors.take(own)),
                    None => values.resize(values.len() + own, 1.0),
                }
                values.resize(values.len() + between, 1.0);
            }
        }
        let mask = TensorData::new(values, [outer, inner, d_in]);
        let mask = Tensor::from_data(mask, &x.device());
        x * mask
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::adapter::{LoraConfig, ParameterName};

    const D_IN: usize = 3;
    /// Lengths of the examples of two groups.
    const LENGTHS: [&[usize]; 2] = [&[2, 1], &[3]];

    fn tensor<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|at| (at * 7 % 11) as f32 - 5.0).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// An adapter of one projection, in training.
    fn adapter(rank: usize, dropout: f32) -> Adapter {
        let (layer, target) = (0, Target::Query);
        let config = LoraConfig::new(rank, 2.0, dropout, [target]).unwrap();
        let parameters = [
            (ParameterName::LoraA { layer, target }, tensor([D_IN, rank])),
            (ParameterName::LoraB { layer, target }, tensor([rank, 2])),
        ];
        let adapter = Adapter::from_parameters(&config, parameters);
        adapter.with_dropout_seed(9)
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        let data = tensor.without_autodiff().into_data();
        data.try_into_vec::<f32>().unwrap()
    }

    /// Value of a sum of squares, its gradients at x and at the factors.
    fn slopes(y: &[Tensor<3>], x: &Tensor<3>, adapters: &[Adapter]) -> Vec<Vec<f32>> {
        let squares = y.iter().map(|y| (y.clone() * y.clone()).sum());
        let mut gradients = squares.reduce(|a, b| a + b).unwrap().backward();
        let mut slopes = vec![values(x.grad(&gradients).unwrap())];
        for adapter in adapters {
            let own = adapter.take_gradients(&mut gradients).unwrap();
            slopes.extend(own.into_iter().map(values));
        }
        slopes
    }

    /// Each group's own part of x.
    fn parts(x: &Tensor<3>, places: [[usize; 3]; 2]) -> [Tensor<3>; 2] {
        // Of the axis of examples: first, count; of the other: count.
        let dim = usize::from(x.dims()[0] == 1);
        places.map(|[first, count, seq]| {
            let own = x.clone().narrow(dim, first, count);
            if dim == 1 { own } else { own.narrow(1, 0, seq) }
        })
    }

    /// Values and slopes of what a function makes of x and of adapters, in a graph of its own.
    fn measured(
        x: &Tensor<3>,
        adapters: &[Adapter; 2],
        function: impl Fn(&Tensor<3>, &[Adapter; 2]) -> [Tensor<3>; 2],
    ) -> [Vec<Vec<f32>>; 2] {
        let x = x.clone().autodiff().require_grad();
        let leaves = adapters.each_ref().map(Adapter::leaves);
        let y = function(&x, &leaves);
        let slopes = slopes(&y, &x, &leaves);
        [y.into_iter().map(values).collect(), slopes]
    }

    fn alone(x: &Tensor<3>, places: [[usize; 3]; 2], adapters: &[Adapter; 2]) -> [Tensor<3>; 2] {
        let mut adapters = adapters.iter();
        parts(x, places).map(|x| {
            let adapter = adapters.next().unwrap();
            adapter.lora(0, Target::Query).unwrap().forward(x)
        })
    }

    fn together(x: &Tensor<3>, adapters: &[Adapter; 2]) -> Tensor<3> {
        let groups = AdapterGroups::new(adapters.iter().cloned().zip(LENGTHS));
        let Beside::Groups(members) = Adapters::Groups(&groups).beside(0, Target::Query) else {
            panic!("nothing beside")
        };
        members.forward(x.clone())
    }

    fn assert_as_alone(x: &Tensor<3>, places: [[usize; 3]; 2], adapters: &[Adapter; 2]) {
        let alone = measured(x, adapters, |x, adapters| alone(x, places, adapters));
        let together = measured(x, adapters, |x, adapters| {
            parts(&together(x, adapters), places)
        });
        assert_eq!(together, alone);
        assert!(
            alone[1]
                .iter()
                .all(|slopes| slopes.iter().any(|slope| *slope != 0.0))
        );
    }

    /// Small whole numbers, so that no sum is rounded and all layouts must give the same bits; a
    /// dropout of a half doubles.
    #[test]
    fn each_group_is_as_alone_in_values_and_gradients() {
        for dropout in [0.0, 0.5] {
            let adapters = [adapter(1, dropout), adapter(2, dropout)];
            // One behind the other: 3 rows and 3. Firsts: 2 and 1.
            assert_as_alone(&tensor([1, 6, D_IN]), [[0, 3, 0], [3, 3, 0]], &adapters);
            assert_as_alone(&tensor([1, 3, D_IN]), [[0, 2, 0], [2, 1, 0]], &adapters);
            // Padded: 2 examples of 2 rows and 1 of 3.
            assert_as_alone(&tensor([3, 3, D_IN]), [[0, 2, 2], [2, 1, 3]], &adapters);
        }
    }

    #[test]
    fn a_group_without_factors_here_gets_zeros() {
        let none = Adapter::from_parameters(adapter(1, 0.0).config(), []);
        let groups = AdapterGroups::new([none, adapter(1, 0.0)].into_iter().zip(LENGTHS));
        let adapters = Adapters::Groups(&groups);
        assert!(matches!(adapters.beside(1, Target::Query), Beside::Nothing));
        let Beside::Groups(members) = adapters.beside(0, Target::Query) else {
            panic!("nothing beside")
        };
        for shape in [[1, 6, D_IN], [3, 3, D_IN]] {
            let x = tensor(shape).autodiff().require_grad();
            let y = members.forward(x.clone());
            let gradients = y.clone().sum().backward();
            let slope = values(x.grad(&gradients).unwrap());
            let own = if shape[0] == 1 { 3 } else { 2 * 3 };
            let y = values(y);
            assert!(y[..own * 2].iter().all(|y| *y == 0.0));
            assert!(y[own * 2..].iter().any(|y| *y != 0.0));
            assert!(slope[..own * D_IN].iter().all(|slope| *slope == 0.0));
            assert!(slope[own * D_IN..].iter().any(|slope| *slope != 0.0));
        }
    }

    /// Breaks when a run that has diverged takes others with it.
    #[test]
    fn what_is_not_finite_stays_in_its_group() {
        let mut numbers = values(tensor([1, 6, D_IN]));
        numbers[4] = f32::NAN; // a row of the first group
        let x = TensorData::new(numbers, [1, 6, D_IN]);
        let x = Tensor::<3>::from_data(x, &Device::flex());
        let adapters = [adapter(1, 0.0), adapter(2, 0.0)];
        let places = [[0, 3, 0], [3, 3, 0]];
        let [_, slopes] = measured(&x, &adapters, |x, adapters| {
            parts(&together(x, adapters), places)
        });
        let is_finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        assert!(!is_finite(&slopes[1]) && !is_finite(&slopes[2]));
        assert!(is_finite(&slopes[3]) && is_finite(&slopes[4]));
        assert!(is_finite(&slopes[0][3 * D_IN..]));
    }
}
