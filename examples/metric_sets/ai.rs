//! Models of an AI service: how long they think, and how that ends.

use std::fmt;
use std::time::Duration;

use campanile::metrics::{Counter, Family, Histogram, RegisterError, Registry, Timed};
use campanile::{Labels, MetricSet};
use serde::Deserialize;
use tokio::time::sleep;

#[derive(MetricSet)]
#[metrics(prefix = "ai")]
struct AiMetrics {
    /// Time of a model's inference.
    #[metric(unit = "seconds", buckets = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0])]
    model_inference_duration: Family<Model, Histogram>,
    /// Requests to a model.
    model_requests: Family<ModelRequest, Counter>,
    /// Operations that were performed.
    operations: Family<OperationEnd, Counter>,
}

#[derive(Labels)]
struct Model {
    model_name: ModelName,
    model_type: ModelType,
}

#[derive(Labels)]
struct ModelRequest {
    model_name: ModelName,
    model_type: ModelType,
    status: Status,
}

#[derive(Labels)]
struct OperationEnd {
    operation_type: Operation,
    status: Status,
}

#[derive(Clone, Copy, Deserialize, Labels)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ModelName {
    Small,
    Large,
}

#[derive(Clone, Copy, Deserialize, Labels)]
#[serde(rename_all = "snake_case")]
enum ModelType {
    Text,
    Code,
}

#[derive(Clone, Copy, Deserialize, Labels)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    Chat,
    Summarize,
}

#[derive(Clone, Copy, Labels)]
pub(crate) enum Status {
    Success,
    Error,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    pub(crate) model: ModelName,
    #[serde(rename = "type")]
    model_type: ModelType,
    pub(crate) operation: Operation,
    text: String,
}

pub(crate) struct Answer {
    pub(crate) text: String,
    /// The tokens of the question and its completion. A word is a token.
    pub(crate) tokens: usize,
}

/// Why there is no answer; `#[observe]` takes the kind of an error from its `Labels`.
#[derive(Clone, Copy, Labels)]
pub(crate) enum AskError {
    Empty,
    TooLong,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the question has no words",
            Self::TooLong => "the question has more words than the model takes",
        })
    }
}

/// Models that know what they were told.
pub(crate) struct Models {
    metrics: AiMetrics,
}

const INFERENCE: Duration = Duration::from_millis(20);

impl Models {
    pub(crate) fn new(registry: &Registry) -> Result<Self, RegisterError> {
        let metrics = AiMetrics::register(registry)?;
        Ok(Self { metrics })
    }

    pub(crate) async fn infer(&self, question: &Question) -> Result<Answer, AskError> {
        let (model_name, model_type) = (question.model, question.model_type);
        let model = Model {
            model_name,
            model_type,
        };
        let times = self.metrics.model_inference_duration.with(model);
        let result = answer(question).timed(&times).await;
        let status = match result {
            Ok(_) => Status::Success,
            Err(_) => Status::Error,
        };
        let request = ModelRequest {
            model_name,
            model_type,
            status,
        };
        self.metrics.model_requests.with(request).increment(1);
        let end = OperationEnd {
            operation_type: question.operation,
            status,
        };
        self.metrics.operations.with(end).increment(1);
        result
    }
}

async fn answer(question: &Question) -> Result<Answer, AskError> {
    let words: Vec<_> = question.text.split_whitespace().collect();
    let most = match question.model {
        ModelName::Small => 1_000,
        ModelName::Large => 20_000,
    };
    if words.is_empty() {
        return Err(AskError::Empty);
    }
    if words.len() > most {
        return Err(AskError::TooLong);
    }
    sleep(INFERENCE).await;
    let text = match question.operation {
        Operation::Chat => format!("you said: {}", question.text),
        Operation::Summarize => words[0].to_owned(),
    };
    let tokens = words.len() + text.split_whitespace().count();
    Ok(Answer { text, tokens })
}
