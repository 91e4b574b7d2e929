<?php
// Laravel's queue events (9 and later) to jobtide. In AppServiceProvider::boot():
//
//   $client = new \Jobtide\Client(config('services.jobtide.url', ''), 'laravel', environment: app()->environment());
//   Event::subscribe(new \Jobtide\LaravelEvents($client));
//
// One id for all attempts of a job (its uuid). The queue worker fires JobFailed before JobExceptionOccurred, and JobProcessed
// also for a job that released or failed itself.
declare(strict_types=1);

namespace Jobtide;

use Illuminate\Queue\Events\JobExceptionOccurred;
use Illuminate\Queue\Events\JobFailed;
use Illuminate\Queue\Events\JobProcessed;
use Illuminate\Queue\Events\JobProcessing;
use Illuminate\Queue\Events\JobQueued;
use Illuminate\Queue\Events\JobReleasedAfterException;
use Illuminate\Queue\Events\JobTimedOut;
use Illuminate\Queue\Events\Looping;
use Illuminate\Queue\Events\WorkerStopping;

final class LaravelEvents
{
    private ?string $running = null;
    private bool $told = false;
    private string $started = '';
    private int $began = 0;

    public function __construct(private readonly Client $client)
    {
    }

    /** @return array<class-string, \Closure> */
    public function subscribe(mixed $events): array
    {
        return [
            JobQueued::class => $this->guarded($this->queued(...)),
            JobProcessing::class => $this->guarded($this->processing(...)),
            JobProcessed::class => $this->guarded($this->processed(...)),
            JobFailed::class => $this->guarded($this->failedForGood(...)),
            JobExceptionOccurred::class => $this->guarded(fn ($event) => $this->failed($event->job, $event->exception)),
            JobReleasedAfterException::class => $this->guarded($this->released(...)),
            JobTimedOut::class => $this->guarded($this->timedOut(...)),
            Looping::class => $this->guarded(fn () => $this->client->flush()),
            WorkerStopping::class => $this->guarded(fn () => $this->client->flush()),
        ];
    }

    private function guarded(callable $hook): \Closure
    {
        return function ($event = null) use ($hook): void {
            $this->client->safely(fn () => $hook($event)); // returns nothing: a listener that says false stops the others
        };
    }

    private function queued(object $event): void
    {
        $payload = json_decode((string) ($event->payload ?? ''), true) ?: [];
        $job = [
            'queue' => self::queue($event->queue ?? (is_object($event->job) ? $event->job->queue ?? null : null)),
            'job_class' => $payload['displayName'] ?? (is_object($event->job) ? $event->job::class : (string) $event->job),
            'job_id' => (string) ($payload['uuid'] ?? $event->id),
        ];
        $delay = $event->delay ?? 0;
        $delay > 0 ? $this->client->emit('job.scheduled', $job + ['run_at' => Client::time(microtime(true) + $delay)]) : $this->client->emit('job.enqueued', $job);
    }

    private function processing(object $event): void
    {
        [$this->started, $this->began, $this->told] = [Client::time(), hrtime(true), false];
        $this->running = $event->job->uuid() ?? (string) $event->job->getJobId();
        $this->client->emit('job.started', $this->job($event->job) + ['time' => $this->started]);
    }

    private function processed(object $event): void
    {
        if ($event->job->hasFailed() || $this->told) {
            return;
        }
        $ended = $this->job($event->job) + $this->ended($event->job);
        if (!$event->job->isReleased()) {
            $this->client->emit('job.finished', $ended);

            return;
        }
        $this->client->emit('job.discarded', $ended + ['reason' => 'released by the job']);
        $this->client->emit('job.retry_scheduled', $this->job($event->job) + ['run_at' => Client::time()]);
    }

    /** The outcome of an attempt, once. */
    private function failed(object $job, ?\Throwable $error): void
    {
        if ($this->told) {
            return;
        }
        $this->told = true;
        $this->client->emit('job.failed', $this->job($job) + $this->ended($job) + ['error' => $this->error($error)]);
    }

    private function failedForGood(object $event): void
    {
        $this->failed($event->job, $event->exception);
        $this->client->emit('job.dead', $this->job($event->job) + ['error' => $this->error($event->exception)]);
    }

    private function released(object $event): void
    {
        $this->client->emit('job.retry_scheduled', $this->job($event->job) + ['run_at' => Client::time(microtime(true) + ($event->backoff ?? 0))]);
    }

    /** The worker kills itself next. */
    private function timedOut(object $event): void
    {
        $this->failed($event->job, new \RuntimeException('the job ran longer than its time'));
        $this->client->flush();
    }

    /** @return array<string, mixed> */
    private function job(object $job): array
    {
        return [
            'queue' => self::queue($job->getQueue()), 'job_class' => $job->resolveName(), 'job_id' => $job->uuid() ?? (string) $job->getJobId(),
            'attempt' => max(1, $job->attempts()), 'worker_id' => Client::worker(),
        ] + ($job->maxTries() ? ['max_attempts' => $job->maxTries()] : []);
    }

    /** @return array<string, mixed> nothing for a job that this process did not begin */
    private function ended(object $job): array
    {
        $mine = $this->running === ($job->uuid() ?? (string) $job->getJobId());

        return $mine ? ['started_at' => $this->started, 'duration_ms' => Client::since($this->began)] : [];
    }

    /** @return array<string, string> */
    private function error(?\Throwable $error): array
    {
        return $error === null ? ['class' => 'Unknown'] : $this->client->error($error);
    }

    /** SQS's queues are URLs. */
    private static function queue(?string $queue): string
    {
        return basename($queue ?? '') ?: 'default';
    }
}
