# frozen_string_literal: true

require "test_helper"

begin
  require "resque"
rescue LoadError
  $LOAD_PATH << File.expand_path("stand_ins", __dir__)
end
require "jobtide/resque"
require "active_job_jobs" if Gem.loaded_specs.key?("activejob") || Gem::Specification.any? { |spec| spec.name == "activejob" }

# Children that fork, exit! and are killed; on a stand-in where Resque is not installed.
class ResqueTest < Minitest::Test
  include JobtideTest

  class Task
    def self.perform(what = "ok")
      File.write(File.join(Resque.directory, "performed"), "#{what}\n", mode: "a")
      case what
      when "fail" then raise ArgumentError, "told to"
      when "skip" then raise Resque::Job::DontPerform
      when "killed" then Process.kill(:KILL, Process.pid)
      when "exit" then exit!
      when "parent" then Resque.enqueue_to("later", Task, "child")
      end
    end
  end

  def setup
    super
    Resque.directory = @directory = Dir.mktmpdir
    emitter(1)
  end

  def teardown
    super
    FileUtils.rm_rf(@directory)
    ENV.delete("FORK_PER_JOB")
  end

  # Everything told about the jobs, by job and in the order of the process that said it.
  def work(*whats)
    whats.each { |what| Resque.enqueue_to("default", Task, what) }
    Resque::Worker.new("default").work
    flushed
    job_events.group_by { |event| event["subject"] }.values.map { |events| events.map { |event| event["type"][/\Ajob\.(\w+)/, 1] } }
  end

  def job_events
    @memory.events.select { |event| event["type"].start_with?("job.") }
  end

  def test_each_child_has_told_everything_before_its_exit
    assert_equal [%w[enqueued started finished]] * 20, work(*["ok"] * 20)
    epochs = @memory.of("job.started").map { |event| event["epoch"] }
    assert_equal 20, epochs.uniq.size
    clean = @memory.of("emitter.stats").select { |event| event["data"]["clean"] }
    assert_equal epochs.sort, (clean.map { |event| event["epoch"] || event["data"]["epoch"] } & epochs).sort # unnumbered before the first contact
    no_errors
  end

  def test_failed_is_dead
    assert_equal [%w[enqueued started failed dead], %w[enqueued started discarded]], work("fail", "skip")
    assert_equal "ArgumentError", @memory.of("job.dead")[0]["data"]["error"]["class"]
  end

  def test_a_killed_child_is_told_by_the_worker
    told = work("killed", "ok")
    assert_equal [%w[enqueued started failed dead], %w[enqueued started finished]], told.map { |kinds| kinds.sort_by { |kind| %w[enqueued started finished failed dead].index(kind) } }
    failed = @memory.of("job.failed")[0]["data"]
    assert_equal "Resque::DirtyExit", failed["error"]["class"]
    assert_operator failed["duration_ms"], :<, 5000
  end

  def test_a_worker_lives
    work("ok")
    assert_equal %w[online offline], (@memory.events.map { |event| event["type"][/\Aworker\.(online|offline)/, 1] }.compact)
    assert_equal @memory.of("worker.online")[0]["data"]["worker_id"], @memory.of("job.started")[0]["data"]["worker_id"]
  end

  def test_without_forks
    ENV["FORK_PER_JOB"] = "false"
    assert_equal [%w[enqueued started finished], %w[enqueued started failed dead]], work("ok", "fail")
    assert_equal 1, job_events.map { |event| event["epoch"] }.uniq.size
  end

  def test_a_push_that_fails_is_not_told
    Resque.directory = nil
    assert_raises(IOError) { Resque.enqueue_to("default", Task, "ok") }
    assert_empty flushed
  end

  def test_a_job_can_still_be_removed_by_class_and_arguments
    3.times { |number| Resque.enqueue_to("default", Task, number.to_s) }
    assert_equal 1, Resque::Job.destroy("default", Task, "1")
    assert_equal 2, Resque.data_store.everything_in_queue("default").size
  end

  def test_a_child_job_knows_its_parent
    work("parent")
    parent = @memory.of("job.started")[0]["subject"]
    assert_equal [nil, parent], (@memory.of("job.enqueued").map { |event| event["data"]["parent_job_id"] })
  end

  if defined?(ActiveJobJobs)
    def test_active_job_on_top
      ActiveJobJobs.on(:test)
      serialized = ActiveJobJobs::Unhandled.new.serialize
      Resque.enqueue_to("default", Wrapper, serialized)
      assert_equal [%w[enqueued started failed dead]], work
      assert_equal ["ActiveJobJobs::Unhandled", serialized["job_id"]], job_events[1]["data"].values_at("job_class", "job_id")
    end

    class Wrapper
      def self.perform(serialized)
        ActiveJob::Base.execute(serialized)
      end
    end
  end

  Jobtide.sites.keys.grep(/\Aresque\./).each do |name|
    define_method("test_a_mistake_in_#{name}_reaches_no_job") do
      Jobtide.sites.fetch(name).fault = lambda do
        File.write(File.join(@directory, "hits"), ".", mode: "a")
        raise NotImplementedError, "a mistake"
      end
      %w[ok fail killed].each { |what| Resque.enqueue_to("default", Task, what) }
      Resque::Job.destroy("default", Task, "none")
      worker = Resque::Worker.new("default")
      worker.work
      worker.shutdown
      assert_equal "ok\nfail\nkilled\n", File.read(File.join(@directory, "performed"))
      assert_equal "..", File.read(File.join(@directory, "failed"))
      assert File.exist?(File.join(@directory, "hits")), "#{name} was never called"
    end
  end
end
