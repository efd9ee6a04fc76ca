package exchangetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pgtide/pgtide/internal/v1client"
)

// untilDone repeats an exchange that gets no answer, as a device does.
func untilDone(t *testing.T, d *v1client.Device) {
	t.Helper()
	var lost *v1client.LostError
	var refusal *v1client.APIError
	for try := 0; ; try++ {
		err := d.Sync(t.Context())
		switch {
		case err == nil:
			return
		case try == 10:
			t.Fatalf("after %d tries: %v", try, err)
		case errors.As(err, &lost):
		case errors.As(err, &refusal) && refusal.Retryable:
		// A session that was begun anew, or ended, beneath a request that came twice.
		case errors.As(err, &refusal) && slices.Contains([]string{"push_chunk_out_of_order", "push_session_not_found", "snapshot_session_not_found"}, refusal.Code):
		default:
			t.Fatal(err)
		}
	}
}

// Whatever the network does to one request of a push: one effect, and the same answer for whoever asks.
func TestEveryFaultAtEveryStepOfAPushHasOneEffect(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, fault := range v1client.AllFaults {
		for _, step := range v1client.PushSteps {
			t.Run(fmt.Sprintf("%s %s", fault, step), func(t *testing.T) {
				t.Parallel()
				user := fmt.Sprintf("%s %s", fault, step)
				faults := &v1client.Faults{Delay: 50 * time.Millisecond}
				d := s.attached(t, user, over(faults), func(c *v1client.Config) { c.ChunkRows, c.PageRows = 2, 2 })
				faults.Choose = v1client.Once(step, 0, fault)
				for i := range 5 {
					must(t, d.Insert("doc", doc(user, fmt.Sprint(user, i), fmt.Sprint(user, i), i)))
				}
				untilDone(t, d)
				must(t, d.Update("doc", doc(user, fmt.Sprint(user, 0), fmt.Sprint(user, 0), 100)))
				untilDone(t, d)
				faults.Release(t.Context())
				faults.Choose = nil
				must(t, d.Sync(t.Context()))

				s.same(t, user, d)
				s.same(t, user, s.attached(t, user))
				if d.NextBundle() != 3 || d.LastSeq() != 2 || len(d.Conflicts()) != 0 {
					t.Errorf("two pushes: next is %d, at %d, conflicts %v", d.NextBundle(), d.LastSeq(), d.Conflicts())
				}
				sameAnswers(t, faults.Log())
			})
		}
	}
}

// sameAnswers wants one answer to a commit, and to each page of its rows, however often it was asked.
func sameAnswers(t *testing.T, log []v1client.Exchange) {
	t.Helper()
	first := map[string]string{}
	for _, exchange := range log {
		if exchange.Status != 200 || exchange.Step != v1client.StepPushCommit && exchange.Step != v1client.StepRows {
			continue
		}
		if was, known := first[exchange.URL]; known && was != string(exchange.Answer) {
			t.Errorf("%s answered\n%s, then\n%s", exchange.URL, was, exchange.Answer)
		}
		first[exchange.URL] = string(exchange.Answer)
	}
}

// The first push of a device that seeds the server carries the lease: it is repeated as well.
func TestSeedingSurvivesALostAnswerAtEveryStep(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, fault := range v1client.AllFaults {
		for _, step := range append([]v1client.Step{v1client.StepCapabilities, v1client.StepConnect}, v1client.PushSteps...) {
			t.Run(fmt.Sprintf("%s %s", fault, step), func(t *testing.T) {
				t.Parallel()
				user := fmt.Sprintf("%s %s", fault, step)
				faults := &v1client.Faults{Choose: v1client.Once(step, 0, fault)}
				d := s.device(t, user, over(faults))
				must(t, d.Insert("doc", doc(user, user, user, 1)))
				untilDone(t, d)
				faults.Release(t.Context())
				must(t, d.Sync(t.Context()))
				if d.NextBundle() != 2 || d.LastSeq() != 1 {
					t.Errorf("next is %d, at %d", d.NextBundle(), d.LastSeq())
				}
				s.same(t, user, d)
			})
		}
	}
}

func TestAPullAndARebuildSurviveEveryFault(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, fault := range v1client.AllFaults {
		for _, step := range append([]v1client.Step{v1client.StepPull}, v1client.RebuildSteps...) {
			t.Run(fmt.Sprintf("%s %s", fault, step), func(t *testing.T) {
				t.Parallel()
				user := fmt.Sprintf("%s %s", fault, step)
				writer := s.attached(t, user)
				write := func(from int) {
					for i := from; i < from+5; i++ {
						must(t, writer.Insert("doc", doc(user, fmt.Sprint(user, i), fmt.Sprint(user, i), i)), writer.Sync(t.Context()))
					}
				}
				write(0)
				faults := &v1client.Faults{Choose: v1client.Once(step, 1, fault)}
				d := s.device(t, user, over(faults), func(c *v1client.Config) { c.PullBundles, c.PageRows = 2, 2 })
				untilDone(t, d)
				write(5)
				untilDone(t, d)
				var lost *v1client.LostError
				err := d.Rebuild(t.Context(), "")
				if errors.As(err, &lost) {
					err = d.Rebuild(t.Context(), "")
				}
				must(t, err)
				s.same(t, user, d)
				faults.Release(t.Context())
				must(t, d.Sync(t.Context()))
				s.same(t, user, d)
			})
		}
	}
}

func TestADeviceThatLosesAnswersCanStillRebuild(t *testing.T) {
	t.Parallel()
	s := newSite(t, `INSERT INTO app.doc SELECT 'd' || g, 'ann', NULL, g FROM generate_series(1, 3) AS g`, `SELECT tide.seal()`)
	faults := &v1client.Faults{Choose: func(step v1client.Step, n int) v1client.Fault {
		if step == v1client.StepSnapshotCreate && n < 9 {
			return v1client.LoseResponse
		}
		return v1client.None
	}}
	d := s.device(t, "ann", over(faults))
	untilDone(t, d)
	s.same(t, "ann", d)
}

// All requests of a push again, in order, at once and long after others have written.
func TestARecordedPushIsReplayedWithoutEffect(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	faults := &v1client.Faults{}
	d := s.attached(t, "ann", over(faults))
	must(t, d.Insert("doc", doc("ann", "a", "one", 1)), d.Sync(t.Context()))
	must(t, d.Update("doc", doc("ann", "a", "one", 2)), d.Sync(t.Context()))
	recorded := faults.Log()
	other := s.attached(t, "ann")
	must(t, other.Update("doc", doc("ann", "a", "one", 3)), other.Sync(t.Context()))

	head := value[int64](t, s, `SELECT head_seq FROM tide.bucket_position('user:ann')`)
	var group sync.WaitGroup
	for range 4 {
		for _, exchange := range recorded {
			group.Go(func() {
				again := faults.Send(t.Context(), exchange)
				if again.Err != nil || again.Status >= 500 {
					t.Errorf("%s: %d %v %s", exchange.URL, again.Status, again.Err, again.Answer)
				}
			})
		}
	}
	group.Wait()
	for _, exchange := range recorded {
		again := faults.Send(t.Context(), exchange)
		switch exchange.Step {
		case v1client.StepRows:
			if string(again.Answer) != string(exchange.Answer) {
				t.Errorf("%s answered %s, then %s", exchange.URL, exchange.Answer, again.Answer)
			}
		case v1client.StepPushCreate:
			if again.Status != 200 {
				t.Errorf("create: %d %s", again.Status, again.Answer)
			}
		}
	}
	s.exec(t, `SELECT tide.seal()`)
	if now := value[int64](t, s, `SELECT head_seq FROM tide.bucket_position('user:ann')`); now != head {
		t.Errorf("the replays wrote bundles %d to %d", head+1, now)
	}
	must(t, d.Sync(t.Context()))
	s.same(t, "ann", d)
	if value[int](t, s, `SELECT n FROM app.doc WHERE id = 'a'`) != 3 {
		t.Error("a replay changed the row")
	}
}

// The same commit from many connections at once: all get the one answer.
func TestACommitRepeatedAtOnceHasOneAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	faults := &v1client.Faults{Choose: v1client.Once(v1client.StepPushCommit, 0, v1client.DeliverLate)}
	d := s.attached(t, "ann", over(faults))
	must(t, d.Insert("doc", doc("ann", "a", "one", 1)))
	var lost *v1client.LostError
	faults.Choose = func(step v1client.Step, _ int) v1client.Fault {
		switch step {
		case v1client.StepPushCommit:
			return v1client.DeliverLate
		case v1client.StepPushDelete:
			return v1client.LoseRequest
		}
		return v1client.None
	}
	if err := d.Push(t.Context()); !errors.As(err, &lost) {
		t.Fatal(err)
	}
	held := faults.Release(t.Context())
	if len(held) != 1 || held[0].Status != 200 {
		t.Fatalf("the commit: %+v", held)
	}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			again := faults.Send(t.Context(), held[0])
			if again.Status != 200 || string(again.Answer) != string(held[0].Answer) {
				t.Errorf("again: %d %s %v", again.Status, again.Answer, again.Err)
			}
		})
	}
	group.Wait()
	faults.Choose = nil
	must(t, d.Sync(t.Context()))
	s.same(t, "ann", d)
	if d.NextBundle() != 2 || d.LastSeq() != 1 {
		t.Errorf("next %d, at %d", d.NextBundle(), d.LastSeq())
	}
}

// Twenty requests try to commit one session first.
func TestTheFirstCommitIsMadeByManyAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	faults := &v1client.Faults{}
	d := s.attached(t, "ann", over(faults))
	var group sync.WaitGroup
	var answers sync.Map
	faults.Choose = func(step v1client.Step, _ int) v1client.Fault {
		if step == v1client.StepPushCommit || step == v1client.StepPushDelete {
			return v1client.LoseRequest
		}
		return v1client.None
	}
	must(t, d.Insert("doc", doc("ann", "a", "one", 1)))
	var lost *v1client.LostError
	if err := d.Push(t.Context()); !errors.As(err, &lost) {
		t.Fatal(err)
	}
	var commit v1client.Exchange
	for _, exchange := range faults.Log() {
		if exchange.Step == v1client.StepPushChunk {
			commit = exchange
			commit.URL, commit.Body = commit.URL[:len(commit.URL)-len("chunks")]+"commit", nil
		}
	}
	for range 20 {
		group.Go(func() {
			answer := faults.Send(t.Context(), commit)
			if answer.Status != 200 {
				t.Errorf("%d %s %v", answer.Status, answer.Answer, answer.Err)
			}
			answers.Store(string(answer.Answer), true)
		})
	}
	group.Wait()
	count := 0
	answers.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Errorf("%d different answers", count)
	}
	faults.Choose = nil
	must(t, d.Sync(t.Context()))
	s.same(t, "ann", d)
	if d.NextBundle() != 2 || d.LastSeq() != 1 {
		t.Errorf("next %d, at %d", d.NextBundle(), d.LastSeq())
	}
}
