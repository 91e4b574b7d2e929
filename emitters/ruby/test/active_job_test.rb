# frozen_string_literal: true

require "test_helper"

begin
  require "active_job"
rescue LoadError
  warn "ActiveJob is not installed: its hooks are not tested"
end

if defined?(ActiveJob)
  require "active_job_jobs"

  # An adapter as GoodJob or Solid Queue are: it keeps serialised jobs, runs them by ActiveJob::Base.execute, and never tries
  # again by itself.
  class GoodJobAdapter
    attr_reader :jobs

    def initialize
      @jobs = []
    end

    def enqueue(job)
      @jobs << JSON.parse(JSON.generate(job.serialize))
    end

    def enqueue_at(job, _timestamp)
      enqueue(job)
    end

    def run
      until @jobs.empty?
        begin
          ActiveJob::Base.execute(@jobs.shift)
        rescue StandardError
          next
        end
      end
    end
  end

  class ActiveJobTest < Minitest::Test
    include JobtideTest

    def setup
      super
      emitter(1)
      ActiveJobJobs.on(@adapter = GoodJobAdapter.new)
    end

    def told(job, **options)
      job.set(**options).perform_later
      @adapter.run
      flushed.reject { |event| event["type"].start_with?("worker.") }.map { |event| [event["type"].delete_suffix(".v1").delete_prefix("job."), event["data"]["attempt"]] }
    end

    def data_of(kind)
      @memory.of("job.#{kind}")[0]["data"]
    end

    def test_ok
      assert_equal [["enqueued", 1], ["started", 1], ["finished", 1]], told(ActiveJobJobs::Fine, queue: "mail", priority: 2)
      assert_equal ["good_job", "mail", 2, "ActiveJobJobs::Fine"], data_of("finished").values_at("system", "queue", "priority", "job_class")
      no_errors
    end

    def test_scheduled
      assert_equal [["scheduled", 1], ["started", 1], ["finished", 1]], told(ActiveJobJobs::Fine, wait: 60)
      assert_in_delta Time.now.to_f + 60, Time.parse(data_of("scheduled")["run_at"]).to_f, 5
    end

    def test_retry_on_then_handled_by_nobody
      expected = [["enqueued", 1], ["started", 1], ["failed", 1], ["scheduled", 2], ["retry_scheduled", 1], ["started", 2], ["failed", 2], ["dead", 2]]
      assert_equal expected.sort, told(ActiveJobJobs::Retried).sort # since 7.0 the next attempt is known before the failure
      assert_equal 1, flushed.reject { |event| event["type"].start_with?("worker.") }.map { |event| event["partitionkey"] }.uniq.size
      no_errors
    end

    def test_retry_on_with_a_block_gives_up
      assert_equal [["failed", 2], ["dead", 2]], told(ActiveJobJobs::GivenUp).last(2)
      assert_equal "ArgumentError", data_of("dead")["error"]["class"]
    end

    def test_discard_on
      assert_equal [["enqueued", 1], ["started", 1], ["failed", 1], ["discarded", 1]], told(ActiveJobJobs::Discarded)
    end

    def test_halted_by_a_callback
      assert_equal [["enqueued", 1], ["started", 1], ["discarded", 1]], told(ActiveJobJobs::Halted)
    end

    def test_an_error_that_nobody_handles_is_the_end_here
      assert_equal [["enqueued", 1], ["started", 1], ["failed", 1], ["dead", 1]], told(ActiveJobJobs::Unhandled)
    end

    def test_an_enqueue_that_fails_is_not_told
      def @adapter.enqueue(_job)
        raise IOError, "no queue"
      end
      assert_raises(IOError) { ActiveJobJobs::Fine.perform_later }
      assert_empty flushed
    end

    def test_the_process_is_the_worker
      told(ActiveJobJobs::Fine)
      eventually("online") { @memory.of("worker.online").any? }
      assert_equal @memory.of("worker.online")[0]["data"]["worker_id"], data_of("started")["worker_id"]
    end

    def test_inline
      ActiveJobJobs.on(:inline)
      ActiveJobJobs::Fine.perform_later
      assert_equal %w[enqueued finished started], flushed.map { |event| event["type"][/\Ajob\.(\w+)/, 1] }.compact.sort
    end

    Jobtide.sites.keys.grep(/\Aactive_job\./).each do |name|
      define_method("test_a_mistake_in_#{name}_reaches_no_job") do
        site = Jobtide.sites.fetch(name)
        hits = 0
        site.fault = -> { (hits += 1) && raise(NotImplementedError, "a mistake") }
        [ActiveJobJobs::Fine, ActiveJobJobs::Retried, ActiveJobJobs::GivenUp, ActiveJobJobs::Discarded, ActiveJobJobs::Unhandled].each(&:perform_later)
        ActiveJobJobs::Fine.set(wait: 1).perform_later("later")
        @adapter.run
        assert_equal ["given up", "later", "ok", "retried", "retried"], ActiveJobJobs.performed.sort
        assert_operator hits, :>, 0 unless name == "active_job.enqueue_all" # since 7.1
      end
    end
  end
end
