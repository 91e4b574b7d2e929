<?php
// Stands for Laravel: the event classes, the dispatcher's way with a subscriber, and a worker that fires events in the real one's order.
declare(strict_types=1);

namespace Illuminate\Queue\Events {
    final class JobQueued
    {
        public function __construct(public $connectionName, public $queue, public $id, public $job, public $payload, public $delay)
        {
        }
    }
    final class JobProcessing
    {
        public function __construct(public $connectionName, public $job)
        {
        }
    }
    final class JobProcessed
    {
        public function __construct(public $connectionName, public $job)
        {
        }
    }
    final class JobFailed
    {
        public function __construct(public $connectionName, public $job, public $exception)
        {
        }
    }
    final class JobExceptionOccurred
    {
        public function __construct(public $connectionName, public $job, public $exception)
        {
        }
    }
    final class JobReleasedAfterException
    {
        public function __construct(public $connectionName, public $job, public $backoff = null)
        {
        }
    }
    final class JobTimedOut
    {
        public function __construct(public $connectionName, public $job)
        {
        }
    }
    final class Looping
    {
        public function __construct(public $connectionName, public $queue)
        {
        }
    }
    final class WorkerStopping
    {
        public function __construct(public $status = 0)
        {
        }
    }
}

namespace {
    use Illuminate\Queue\Events as E;

    /** A job as the worker holds it. */
    final class Job
    {
        public bool $failed = false;
        public bool $released = false;

        public function __construct(private string $uuid, private string $class, private int $attempts, private int $maxTries, private \Closure $body)
        {
        }

        public function uuid(): ?string { return $this->uuid; }
        public function getJobId(): string { return 'row-7'; }
        public function getQueue(): string { return 'https://sqs.eu-1.example.com/1234/mail'; }
        public function resolveName(): string { return $this->class; }
        public function attempts(): int { return $this->attempts; }
        public function maxTries(): ?int { return $this->maxTries; }
        public function hasFailed(): bool { return $this->failed; }
        public function isReleased(): bool { return $this->released; }
        public function fire(): void { ($this->body)($this); }
    }

    final class Dispatcher
    {
        /** @var array<string, list<callable>> */
        private array $listeners = [];

        public function subscribe(object $subscriber): void
        {
            foreach ($subscriber->subscribe($this) as $event => $listener) {
                $this->listeners[$event][] = $listener;
            }
        }

        public function dispatch(object $event): void
        {
            foreach ($this->listeners[$event::class] ?? [] as $listener) {
                if ($listener($event) === false) {
                    throw new LogicException('a listener stopped the others');
                }
            }
        }
    }

    /** Illuminate\Queue\Worker::process, its events in its order. */
    function process(Dispatcher $events, Job $job): void
    {
        try {
            $events->dispatch(new E\JobProcessing('redis', $job));
            $job->fire();
            $events->dispatch(new E\JobProcessed('redis', $job));
        } catch (Throwable $error) {
            if (!$job->failed && $job->attempts() >= $job->maxTries()) {
                $job->failed = true;
                $events->dispatch(new E\JobFailed('redis', $job, $error));
            }
            $events->dispatch(new E\JobExceptionOccurred('redis', $job, $error));
            if (!$job->failed && !$job->released) {
                $job->released = true;
                $events->dispatch(new E\JobReleasedAfterException('redis', $job, 30));
            }
        }
    }

    require $argv[1] . '/Jobtide.php';
    require $argv[1] . '/Laravel.php';

    $client = new Jobtide\Client((string) getenv('JOBTIDE_URL'), 'laravel', environment: 'testing');
    $events = new Dispatcher();
    $events->subscribe(new Jobtide\LaravelEvents($client));

    $queued = fn (string $uuid, ?int $delay) => $events->dispatch(new E\JobQueued('redis', 'mail', 'row-7', new stdClass(), json_encode(['uuid' => $uuid, 'displayName' => 'App\Jobs\Send']), $delay));
    $job = fn (string $uuid, int $attempt, callable $body) => new Job($uuid, 'App\Jobs\Send', $attempt, 2, $body(...));
    $boom = function (): void { throw new DomainException('password=hunter2'); };

    $queued('ok', null);
    $queued('later', 60);
    process($events, $job('ok', 1, function (): void { usleep(20_000); }));
    $queued('second', null);
    process($events, $job('second', 1, $boom));
    process($events, $job('second', 2, function (): void {}));
    $queued('dead', null);
    process($events, $job('dead', 1, $boom));
    process($events, $job('dead', 2, $boom));
    $queued('itself', null); // fails itself, and returns
    process($events, $job('itself', 1, function (Job $job) use ($events): void {
        $job->failed = true;
        $events->dispatch(new E\JobFailed('redis', $job, new RuntimeException('no')));
    }));
    $queued('released', null);
    process($events, $job('released', 1, function (Job $job): void { $job->released = true; }));
    $events->dispatch(new E\Looping('redis', 'mail'));
    $queued('slow', null);
    $slow = $job('slow', 1, fn () => null);
    $events->dispatch(new E\JobProcessing('redis', $slow));
    $events->dispatch(new E\JobTimedOut('redis', $slow));
    $events->dispatch(new E\WorkerStopping());
    echo $client->dropped, "\n";
}
