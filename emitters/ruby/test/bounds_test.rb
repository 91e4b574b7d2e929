# frozen_string_literal: true

require "test_helper"

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
    assert_equal({ "class" => "ZeroDivisionError" }, Bounds.error(error, "class"))
    assert_equal %w[class message fingerprint], Bounds.error(error, "message").keys
    assert_match(/bounds_test/, Bounds.error(error, "full")["backtrace"])
    assert_equal({ "class" => "Unknown" }, Bounds.error(nil, "full"))
  end

  def test_fingerprints_ignore_what_varies
    same = ["no user 42 (\"ann\")", "no user 7 (\"bob\")"].map { |message| Bounds.fingerprint("E", message) }
    assert_equal 1, same.uniq.size
    assert_equal 1, ["job 7f0c9e2a-5d1b-4c3e-9a88-1c2d3e4f5a6b", "job 0f0c9e2a-5d1b-4c3e-9a88-1c2d3e4f5a6c"].map { |text| Bounds.fingerprint("E", text) }.uniq.size
    refute_equal Bounds.fingerprint("E", "no user"), Bounds.fingerprint("E", "no card")
    refute_equal Bounds.fingerprint("E", "no user"), Bounds.fingerprint("F", "no user")
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
