//! Much of the same, on all cores.

use std::{
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// What `work` answers for each input, in the order of the inputs. There are twice as many threads as cores: while one waits for a disk, another
/// one computes.
pub(super) fn in_order<Input: Sync, Answer: Send>(inputs: &[Input], work: &(dyn Fn(&Input) -> Answer + Sync)) -> Vec<Answer> {
    // For one, no thread is worth its start.
    if inputs.len() < 2 {
        return inputs.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let threads = (2 * thread::available_parallelism().map_or(1, NonZero::get)).min(inputs.len());
    let mut answers: Vec<(usize, Answer)> = thread::scope(|scope| {
        let take = || {
            let mut answers = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(input) = inputs.get(index) else { return answers };
                answers.push((index, work(input)));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(take)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_their_inputs() {
        for count in [0, 1, 2, 1_000] {
            let inputs: Vec<usize> = (0..count).collect();
            assert_eq!(in_order(&inputs, &|input| input * 3), inputs.iter().map(|input| input * 3).collect::<Vec<_>>());
        }
    }
}
