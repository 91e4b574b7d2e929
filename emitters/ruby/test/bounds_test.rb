# frozen_string_literal: true

require "test_helper"
require "jobtide/arguments"

class BoundsTest < Minitest::Test
  include JobtideTest
  Bounds = Jobtide::Bounds

  def test_names
    assert_equal ["mail\uFFFD", "unknown", "größe", "a\uFFFDb"], ["mail\n", "", "größe", "a\xFFb"].map { |text| Bounds.name(text) }
    assert_equal "größe", Bounds.name("gr\xC3\xB6\xC3\x9Fe".b)
    assert_equal "Größe", Bounds.name("Größe".encode("ISO-8859-1"))
    assert_equal "unknown", Bounds.name(nil)
  end

  def test_a_long_name_keeps_its_beginning_and_stays_itself
    first, second = %w[a b].map { |last| Bounds.name(("x" * 300) + last) }
    assert_equal [256, 256], [first.length, second.length]
    refute_equal first, second
    assert_equal "#{'x' * 247}~3b41c9e6", Bounds.name("x" * 1000) # as the Python emitter has it
  end

  def test_an_object_that_cannot_be_printed_has_a_name_too
    hostile = Class.new { def to_s = raise("no") }.new
    assert_equal "(an object that cannot be printed)", Bounds.name(hostile)
  end

  def test_errors_by_detail
    error = assert_raises(ZeroDivisionError) { 1 / 0 }
    assert_equal({ "class" => "ZeroDivisionError" }, Bounds.error(error, "class", "strict"))
    assert_equal %w[class message fingerprint], Bounds.error(error, "message", "strict").keys
    assert_match(/bounds_test/, Bounds.error(error, "full", "strict")["backtrace"])
    assert_equal({ "class" => "Unknown" }, Bounds.error(nil, "full", "strict"))
  end

  def test_a_missing_methods_name_stays_what_it_is_missing_on_does_not
    error = assert_raises(NoMethodError) { "hunter2".no_such_method }
    message = Bounds.error(error, "message", "strict")["message"]
    assert_match(/no_such_method/, message)
    refute_match(/hunter2/, message)
  end

  # Planted in a message, an argument and a name of an argument: found nowhere in what leaves.
  def test_secrets_do_not_leave
    planted = "hunter2-Zq83kd0Lw7"
    made = emitter(8, args: "*")
    error = assert_raises(ArgumentError) { raise ArgumentError, "cannot log in as 'ann' with password=#{planted}, Bearer #{planted}, https://ann:#{planted}@db/x" }
    preview = Jobtide::Arguments.current.preview("Login", ["password: #{planted}", { "api_key" => planted, user: "ann" }])
    made.job_dead(made.job("sidekiq", "default", "Login", "1", 1, args_preview: preview), made.error(error))
    told = JSON.generate(flushed)
    refute_match(/hunter2|Zq83/, told)
    assert_match(/cannot log in as '\[masked\]' with password=\[masked\]/, told)
    assert_match(/ann/, told[/args_preview.*/])
  end

  def test_an_event_over_32_kib_is_shortened_and_sent
    made = emitter
    job = made.job("sidekiq", "default", "Big", "1", 1, labels: { "a" => "b" })
    made.job_dead(job, { "class" => "E", "message" => "m\u0001" * 9000, "backtrace" => "b" * 16_000 })
    event = flushed.find { |each| each["type"] == "job.dead.v1" }
    assert_operator JSON.generate(event).bytesize, :<=, 32 * 1024
    assert_equal true, event["data"]["truncated"]
    refute event["data"]["error"].key?("backtrace")
    assert event["data"]["error"]["message"].start_with?("m")
    assert_equal 1, made.truncated
    no_errors
  end

  def test_values_that_are_no_json_become_some
    made = emitter
    made.emit("queue.snapshot.v1", { system: "x", queue: "q", ready: 1, odd: [Float::NAN, 2**70, Object, "\xFF"] }, partitionkey: "acme/x/q/q")
    odd = flushed[0]["data"]["odd"]
    assert_equal [nil, (2**70).to_s, "Object", "\uFFFD"], odd
    no_errors
  end

  def test_moments
    assert_equal "1970-01-01T00:00:01.500000Z", Jobtide::Moments.text(1_500_000)
    assert_equal "2026-11-22T10:00:00.000007Z", Jobtide::Moments.text(1_795_341_600_000_007)
    assert_equal [1_795_341_600_123_000, 1_795_341_600_500_000, 5_000_000], [1_795_341_600_123, 1_795_341_600.5, 5].map { |stamp| Jobtide::Moments.us(stamp) }
    assert_equal 1_795_341_600_250_000, Jobtide::Moments.us("2026-11-22T11:00:00.25+01:00")
    assert_nil Jobtide::Moments.us("soon")
    assert_nil Jobtide::Moments.us(nil)
  end
end
