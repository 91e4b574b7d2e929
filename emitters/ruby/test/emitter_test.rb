# frozen_string_literal: true

require "test_helper"

class EmitterTest < Minitest::Test
  include JobtideTest

  def test_a_job_from_enqueue_to_end
    made = emitter
    job = made.job("sidekiq", "default", "Shop::Invoice", "j1")
    made.job_enqueued(job)
    run = made.job_started(job, "web:1", enqueued_at_us: 1_795_341_600_000_000)
    run.progress(0.5, "half")
    run.finished
    run.failed({ "class" => "Late" }) # it has ended
    events = flushed
    assert_equal %w[job.enqueued.v1 job.started.v1 job.progress.v1 job.finished.v1], events.map { |event| event["type"] }
    assert_equal [0, 1, 2, 3], events.map { |event| event["seq"] }
    assert_equal ["acme/sidekiq/j1"], events.map { |event| event["partitionkey"] }.uniq
    assert_equal events[1]["time"], events[3]["data"]["started_at"]
    assert_equal "2026-11-22T10:00:00.000000Z", events[1]["data"]["enqueued_at"]
    no_errors
  end

  def test_off_means_nothing_at_all
    made = Jobtide.configure(disabled: true, url: "http://127.0.0.1:9/v1/events")
    before = Thread.list.size
    made.job_started(made.job("sidekiq", "q", "C", "1"), "w").finished
    assert_equal [0, before], [made.ring.last_order, Thread.list.size]
    assert_nil made.worker("sidekiq", "w", queues: [], concurrency: 1)
    assert made.flush
  end

  def test_a_wrong_environment_turns_it_off_and_says_so
    Jobtide.instance_variable_set(:@emitter, nil)
    ENV["JOBTIDE_EMITTER_LINGER_MS"] = "soon"
    refute Jobtide.emitter.enabled
    assert_match(/the emitter is off: JOBTIDE_EMITTER_LINGER_MS/, @logged.string)
  ensure
    ENV.delete("JOBTIDE_EMITTER_LINGER_MS")
  end

  def test_a_fork_has_an_epoch_of_its_own_and_leaves_the_parents_events_alone
    made = emitter(linger_ms: 10_000)
    made.job_enqueued(made.job("sidekiq", "q", "C", "parent"))
    child = in_fork do
      made.job_enqueued(made.job("sidekiq", "q", "C", "child"))
      [made.ring.epoch, made.ring.take(1 << 20).map { |record| JSON.parse(Jobtide::Packs.text(record, "e" * 16).json)["subject"] }]
    end
    refute_equal made.ring.epoch, child[0]
    assert_equal ["child"], child[1]
    assert_equal(["parent"], flushed.map { |event| event["subject"] })
  end

  def test_all_waits_of_an_end_have_one_deadline
    { end_worker: [0.2, 0.0], close: [0.2, 0.0, 0.0] }.each do |how, wanted|
      made = emitter(flush_timeout_ms: 200)
      made.worker("sidekiq", "w", queues: ["q"], concurrency: 1) { [] }
      flushed
      waits = []
      flusher = made.instance_variable_get(:@flusher)
      flusher.define_singleton_method(:drain) { |seconds| waits << seconds && sleep(seconds) } # all the time that there is
      flusher.define_singleton_method(:flush) { |seconds| waits << seconds }
      made.public_send(how)
      assert_equal wanted, waits, how.to_s
    end
  end

  def test_a_fork_that_says_nothing_closes_nothing
    made = emitter(linger_ms: 10_000)
    made.job_enqueued(made.job("sidekiq", "q", "C", "parent"))
    assert_equal([true, 0], in_fork { [Jobtide.flush, Jobtide.close, @memory.packs.size].values_at(0, 2) })
    assert_equal 1, flushed.size
  end

  def test_the_clean_end_says_the_next_number_of_every_lane
    made = emitter(8)
    20.times { |number| made.job_enqueued(made.job("sidekiq", "q", "C", number.to_s)) }
    epoch = made.ring.epoch
    Jobtide.close
    following = @memory.of("emitter.stats").select { |event| event["data"]["clean"] }.map { |event| event["data"]["next"] }.reduce(:merge)
    seen = @memory.events.select { |event| event["epoch"] == epoch }.group_by { |event| event["lane"] }
    assert_equal(seen.to_h { |lane, events| [lane.to_s, events.size] }, following.reject { |_, count| count.zero? })
    assert @memory.closed
  end

  def test_a_worker_lives
    made = emitter(8, heartbeat_ms: 100)
    held = [Jobtide::Held.new("q", "j1", 1, nil), Jobtide::Held.new("q", "j2", 1, nil)]
    worker = made.worker("sidekiq", "w1", queues: %w[q], concurrency: 2, version: "6") { held }
    eventually("a heartbeat") { @memory.of("worker.heartbeat").size >= 16 }
    worker.stopping
    eventually("stopping") { @memory.of("worker.stopping").any? }
    Jobtide.close
    assert_equal [8, 8], [@memory.of("worker.online").size, @memory.of("worker.offline").size]
    beats = @memory.of("worker.heartbeat").first(8)
    assert_equal %w[j1 j2], beats.flat_map { |event| event["data"]["running"].map { |each| each["job_id"] } }.sort
    beats.each { |event| event["data"]["running"].each { |each| assert_equal event["lane"] % 8, Jobtide::Lanes.of("acme/sidekiq/#{each['job_id']}") % 8 } }
    no_errors
  end

  def test_a_limit_on_a_jobs_time_is_not_swallowed_by_a_hook
    made = emitter
    # A limit that strikes in the hook waits until the hook has returned, and then strikes.
    Jobtide.sites["emitter.job_event"].fault = -> { sleep 0.05 }
    job = made.job("sidekiq", "q", "C", "1")
    limit = Class.new(StandardError)
    target = Thread.current
    Thread.new { sleep(0.01); target.raise(limit) }
    assert_raises(limit) { made.job_enqueued(job) }
    Jobtide.sites["emitter.job_event"].fault = nil
    assert_equal 1, flushed.size # the event is whole
    no_errors
  end

  def test_every_event_meets_the_schema
    made = emitter(8, release: "r1")
    begin
      raise ArgumentError, "bad \u0000 \xFF"
    rescue ArgumentError => e
      error = made.error(e)
    end
    job = made.job("sidekiq", "q\n", "C" * 400, "größe", 3, max_attempts: 5, parent_job_id: "p", batch_id: "b", labels: { "tags" => "a" }, priority: 1)
    now = Jobtide::Moments.now_us
    made.job_scheduled(job, now)
    made.job_enqueued(job, run_at_us: now)
    run = made.job_started(job, "w", enqueued_at_us: now, run_at_us: now)
    run.heartbeat
    run.progress(2, "x" * 300)
    run.failed(error)
    made.job_started(job, "w").finished
    made.job_started(job, "w").cancelled("stop")
    made.job_started(job, "w").discarded("skip")
    made.job_retry_scheduled(job, now)
    made.job_dead(job, error)
    made.job_cancelled(job, "gone")
    made.job_discarded(job, "expired")
    made.worker("sidekiq", "w", queues: %w[a], concurrency: 3) { [Jobtide::Held.new("q", "j", 1, Jobtide::Moments.text(now))] }.stopping
    made.emit("queue.snapshot.v1", { system: "sidekiq", queue: "q", ready: 3, paused: false }, partitionkey: "acme/sidekiq/q/q")
    Jobtide.close
    assert_operator @memory.events.map { |event| event["type"] }.uniq.size, :>=, 16
    @memory.events.each { |event| assert_empty Schema.errors(event), event.inspect }
    no_errors
  end

  def test_a_file_turns_it_off_and_on_without_a_restart
    Dir.mktmpdir do |directory|
      switch = File.join(directory, "off")
      made = emitter(8, off_file: switch)
      now = Jobtide::Moments.monotonic_s
      told = [false, true, true, false].each_with_index.map do |there, number|
        there ? File.write(switch, "") : FileUtils.rm_f(switch)
        now += 1.5
        Jobtide::Moments.stub(:monotonic_s, now) do
          made.job_enqueued(made.job("cron", "q", "C", number.to_s))
          made.emit("queue.snapshot.v1", { system: "cron", queue: "q", ready: 1 }, partitionkey: "acme/cron/q/q")
        end
        made.flush(5000)
        @memory.events.length
      end
      assert_equal [2, 2, 2, 4], told
      assert_equal [0, 1], @memory.events.select { |event| event["type"] == "queue.snapshot.v1" }.map { |event| event["seq"] }
      no_errors
    end
  end

  # The contract's JSON Schema, where a validator is installed.
  module Schema
    begin
      require "set" # json_schemer 0.2 forgets it
      require "json_schemer"
      draft7 = JSON.parse(File.read(File.join(JobtideTest::CONTRACT, "job-event.v1.schema.json"))).merge("$schema" => "http://json-schema.org/draft-07/schema#")
      # Draft 7 has everything the schema uses but the name of $defs; a pattern's \u escapes are Ruby's too.
      CHECK = JSONSchemer.schema(JSON.parse(JSON.generate(draft7).gsub("$defs", "definitions")))
    rescue LoadError
      CHECK = nil
    end

    def self.errors(event)
      CHECK ? CHECK.validate(event).map { |error| "#{error['data_pointer']}: #{error['type']}" } : []
    end
  end
end
