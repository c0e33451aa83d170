//! An agent that asks models: what `#[observe]` counts of its calls, and what it counts itself.

use campanile::metrics::{
    Counter, Family, Gauge, Histogram, RegisterError, Registry, Summary, Timed,
};
use campanile::{Labels, MetricSet, observe};
use tokio::sync::Semaphore;

use crate::Endpoint;
use crate::ai::{Answer, AskError, ModelName, Models, Operation, Question, Status};

#[derive(MetricSet)]
struct AgentMetrics {
    /// Requests to the agent.
    agent_requests: Family<Request, Counter>,
    /// Requests that failed.
    agent_errors: Family<Failed, Counter>,
    /// Time of requests.
    #[metric(unit = "seconds", buckets = [0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0])]
    agent_request_duration: Family<Asked, Histogram>,
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
struct Request {
    method: Operation,
    status: Status,
    endpoint: Endpoint,
}

#[derive(Labels)]
struct Failed {
    error_type: AskError,
    method: Operation,
}

#[derive(Labels)]
struct Asked {
    method: Operation,
    endpoint: Endpoint,
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

    /// Answers a question, and counts it under the agent's own names.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Answer, AskError> {
        let _connection = self.metrics.agent_active_connections.in_flight();
        let (method, endpoint) = (question.operation, Endpoint::Ask);
        let asked = Asked { method, endpoint };
        let duration = self.metrics.agent_request_duration.with(asked);
        let result = self.answer(question).timed(&duration).await;
        let status = match result {
            Ok(_) => Status::Success,
            Err(error_type) => {
                let failed = Failed { error_type, method };
                self.metrics.agent_errors.with(failed).increment(1);
                Status::Error
            }
        };
        let request = Request {
            method,
            status,
            endpoint,
        };
        self.metrics.agent_requests.with(request).increment(1);
        result
    }

    /// Answers a question when its turn comes. `function_calls_total` and the other metrics of
    /// `#[observe]` count it.
    #[observe(
        labels(model = question.model, operation = question.operation),
        on_ok = self.recorder(question)
    )]
    async fn answer(&self, question: &Question) -> Result<Answer, AskError> {
        let queue = Queue {
            queue_name: question.model,
        };
        let waiting = self.metrics.agent_queue_size.with(queue).in_flight();
        // The semaphore is never closed, so this can't fail.
        let _turn = self.turns.acquire().await;
        drop(waiting);
        self.models.infer(question).await
    }

    /// Returns the recorder of a question's result.
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
