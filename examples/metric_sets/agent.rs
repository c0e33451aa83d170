//! An agent that asks models: what `#[observe]` counts of its calls, and what it counts itself.

use campanile::metrics::{Family, Gauge, Histogram, RegisterError, Registry, Summary};
use campanile::{Labels, MetricSet, observe};
use tokio::sync::Semaphore;

use crate::Endpoint;
use crate::ai::{Answer, AskError, ModelName, Models, Operation, Question};

#[derive(MetricSet)]
struct AgentMetrics {
    /// Connections to the agent.
    agent_active_connections: Gauge,
    /// Questions that wait for their turn.
    agent_queue_size: Family<Queue, Gauge>,
    /// Tokens that a question and its answer took.
    #[metric(buckets = [100, 500, 1_000, 2_000, 5_000, 10_000, 20_000])]
    llm_tokens_used: Family<LlmCall, Histogram>,
    /// Size of responses.
    #[metric(unit = "bytes")]
    response_size: Family<Endpoint, Summary>,
}

#[derive(Labels)]
struct Queue {
    queue_name: ModelName,
}

#[derive(Labels)]
struct LlmCall {
    model: ModelName,
    operation: Operation,
}

/// Asks models, some questions at a time.
pub(crate) struct Agent {
    metrics: AgentMetrics,
    models: Models,
    turns: Semaphore,
}

const TURNS: usize = 4;

impl Agent {
    pub(crate) fn new(registry: &Registry) -> Result<Self, RegisterError> {
        Ok(Self {
            metrics: AgentMetrics::register(registry)?,
            models: Models::new(registry)?,
            turns: Semaphore::new(TURNS),
        })
    }

    /// Answers a question. It is counted in `agent_calls_total`, `agent_errors_total`, `agent_duration_seconds` and
    /// `agent_in_flight`.
    #[observe(
        prefix = "agent",
        labels(model = question.model, operation = question.operation),
        on_ok = self.recorder(question)
    )]
    pub(crate) async fn ask(&self, question: &Question) -> Result<Answer, AskError> {
        let _connection = self.metrics.agent_active_connections.in_flight();
        let queue = Queue {
            queue_name: question.model,
        };
        let waiting = self.metrics.agent_queue_size.with(queue).in_flight();
        // It can't fail: nobody closes the semaphore.
        let _turn = self.turns.acquire().await;
        drop(waiting);
        self.models.infer(question).await
    }

    /// Returns what records the answer to a question.
    fn recorder(&self, question: &Question) -> impl Fn(&Answer) {
        let call = LlmCall {
            model: question.model,
            operation: question.operation,
        };
        let tokens = self.metrics.llm_tokens_used.with(call);
        let size = self.metrics.response_size.with(Endpoint::Ask);
        move |answer| {
            tokens.record(answer.tokens as f64);
            size.record(answer.text.len() as f64);
        }
    }
}
