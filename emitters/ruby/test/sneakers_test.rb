# frozen_string_literal: true

require "test_helper"
JobtideTest.backend("sneakers")
require "jobtide/sneakers"

# The hooks in the middleware and workers of Sneakers (and Kicks).
class SneakersTest < Minitest::Test
  include JobtideTest

  class Mail
    include Sneakers::Worker
    from_queue "mail", retry_max_times: 2, retry_timeout: 5000

    def work(message)
      raise ArgumentError, "told to" if message == "fail"

      { "reject" => reject!, "requeue" => requeue!, "error" => :error, "nothing" => nil }.fetch(message, ack!)
    end
  end

  class Deaf < Mail
    include Sneakers::Worker
    from_queue "deaf", ack: false
  end

  def setup
    super
    emitter(1)
    Sneakers::Publisher.published = []
    Jobtide::Sneakers::Running.instance_variable_get(:@working).clear # what a fault in an earlier test has left
    Sneakers::Publisher.refuse = nil
  end

  def work(message, headers: {}, handler: Sneakers::Handlers::Oneshot.new, worker: Mail.new, id: "m-1")
    worker.process_work(nil, { message_id: id, headers: headers }, message, handler)
    handler.told
  end

  def deaths(count)
    { "x-death" => [{ "queue" => "mail", "count" => count }, { "queue" => "mail-retry", "count" => count }] }
  end

  def kinds
    flushed.map { |event| event["type"][/\Ajob\.(\w+)/, 1] }.compact
  end

  def data(kind)
    @memory.of("job.#{kind}").last["data"]
  end

  def test_published_and_done
    Mail.enqueue("hello")
    message, options = Sneakers::Publisher.published[0]
    assert_equal [:ack], work(message, headers: options[:headers], id: options[:message_id])
    assert_equal %w[enqueued started finished], kinds
    assert_equal 1, flushed.map { |event| event["subject"] }.uniq.size
    assert_equal ["sneakers", "mail", "SneakersTest::Mail", 1], data("finished").values_at("system", "queue", "job_class", "attempt")
    assert_in_delta Time.now.to_f, Time.parse(data("started")["enqueued_at"]).to_f, 5
    no_errors
  end

  def test_a_publish_that_the_broker_refused_is_not_told
    Sneakers::Publisher.refuse = true
    assert_raises(IOError) { Mail.enqueue("hello") }
    assert_empty flushed
  end

  def test_an_id_and_headers_of_the_apps_own_stay
    Sneakers::Publisher.new.publish("hello", to_queue: "mail", message_id: "mine", headers: { "a" => 1 })
    assert_equal ["mine", 1], Sneakers::Publisher.published[0][1].then { |options| [options[:message_id], options[:headers]["a"]] }
    assert_equal "mine", flushed[0]["subject"]
  end

  # Somebody else's queue: nobody here knows who will work on it.
  def test_a_message_for_another_app
    Sneakers::Publisher.new.publish("hello", to_queue: "elsewhere")
    assert_empty flushed
    assert Sneakers::Publisher.published[0][1].key?(:message_id)
  end

  def test_an_error_without_retries_is_the_end
    assert_equal [:error], work("fail")
    assert_equal %w[started failed dead], kinds
    assert_equal "ArgumentError", data("dead")["error"]["class"]
    no_errors
  end

  def test_an_error_with_maxretry
    handler = Sneakers::Handlers::Maxretry.new
    work("fail", handler: handler)
    work("fail", handler: handler, headers: deaths(1))
    work("fail", handler: handler, headers: deaths(2))
    assert_equal %w[started failed retry_scheduled started failed retry_scheduled started failed dead], kinds
    assert_equal [1, 2, 3], (@memory.of("job.failed").map { |event| event["data"]["attempt"] })
    assert_equal 3, data("dead")["max_attempts"]
    assert_in_delta Time.now.to_f + 5, Time.parse(data("retry_scheduled")["run_at"]).to_f, 3
    no_errors
  end

  def test_what_a_worker_returns
    assert_equal [[:reject], [:requeue], [:error], [:noop]], (%w[reject requeue error nothing].map { |message| work(message) })
    assert_equal %w[started failed dead started started failed dead started finished], kinds
    assert_equal %w[Rejected Error], (@memory.of("job.dead").map { |event| event["data"]["error"]["class"] })
    assert_empty Jobtide::Sneakers::HAND.held
  end

  # It has no say.
  def test_a_worker_that_does_not_acknowledge
    work("reject", worker: Deaf.new)
    assert_equal %w[started finished], kinds
  end

  def test_a_worker_lives
    workers = [Mail.new, Deaf.new]
    workers.each(&:run)
    eventually("online") { @memory.of("worker.online").any? }
    workers.each(&:stop)
    assert_equal 1, @memory.of("worker.offline").size
    assert_equal %w[mail deaf], @memory.of("worker.offline")[0]["data"]["queues"]
    assert_equal 20, @memory.of("worker.offline")[0]["data"]["concurrency"]
    no_errors
  end

  if Gem::Specification.any? { |spec| spec.name == "activejob" }
    require "active_job_jobs"

    class JobWrapper
      include Sneakers::Worker
      from_queue "default"

      def work(message)
        ActiveJob::Base.execute(JSON.parse(message))
        ack!
      end
    end

    def test_active_job_on_top
      ActiveJobJobs.on(:test)
      text = JSON.generate(ActiveJobJobs::Unhandled.new.serialize)
      JobWrapper.enqueue(text)
      assert_empty flushed # ActiveJob tells it
      work(text, worker: JobWrapper.new)
      assert_equal %w[started failed dead], kinds
      assert_equal ["sneakers", "ActiveJobJobs::Unhandled"], data("dead").values_at("system", "job_class")
      no_errors
    end
  end

  Jobtide.sites.keys.grep(/\Asneakers\./).each do |name|
    define_method("test_a_mistake_in_#{name}_reaches_no_job") do
      with_a_mistake_in(name) do
        worker = Mail.new
        worker.run
        Mail.enqueue("hello")
        assert_equal 1, Sneakers::Publisher.published.size
        assert_equal [:ack], work("hello", worker: worker)
        assert_equal [:error], work("fail", worker: worker)
        worker.stop
      end
    end
  end
end
