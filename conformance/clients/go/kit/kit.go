// Package kit runs named claims about a cluster and prints their outcome as the other conformance scripts do.
package kit

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Claim is one named claim; its check fails by Fail, Must or Equal.
type Claim struct {
	Name  string
	Check func(ctx context.Context)
}

// claimMax is how long one claim may take.
const claimMax = 3 * time.Minute

type failed struct{ what string }

// Fail ends the claim as wrong.
func Fail(format string, args ...any) {
	panic(failed{fmt.Sprintf(format, args...)})
}

// Must ends the claim as wrong if there is an error.
func Must(err error) {
	if err != nil {
		Fail("%v", err)
	}
}

// Got gives the value if there is no error.
func Got[T any](value T, err error) T {
	Must(err)
	return value
}

// Equal ends the claim as wrong if the two differ.
func Equal(what string, found, wanted any) {
	if !reflect.DeepEqual(found, wanted) {
		Fail("%s: found %#v, wanted %#v", what, found, wanted)
	}
}

// Contains ends the claim as wrong if a word is missing.
func Contains(text string, words ...string) {
	for _, word := range words {
		if !strings.Contains(text, word) {
			Fail("expected %q in %s", word, text)
		}
	}
}

// Refused ends the claim as wrong unless the error is of that class and says these words.
func Refused(err error, is func(error) bool, says ...string) {
	if err == nil {
		Fail("was not refused; expected %q", says)
	}
	if is != nil && !is(err) {
		Fail("refused for another reason (%s): %v", apierrors.ReasonForError(err), err)
	}
	Contains(err.Error(), says...)
}

// Eventually repeats a check until it gives no error; its last complaint is the failure.
func Eventually(ctx context.Context, check func() error) {
	end := time.Now().Add(60 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) || ctx.Err() != nil {
			Fail("not within a minute: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Wait is Eventually for a check that is only right or wrong.
func Wait(ctx context.Context, what string, is func() bool) {
	Eventually(ctx, func() error {
		if is() {
			return nil
		}
		return fmt.Errorf("%s", what)
	})
}

// Namespace makes a namespace anew.
func Namespace(ctx context.Context, client kubernetes.Interface, name string) {
	namespaces := client.CoreV1().Namespaces()
	if err := namespaces.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		Must(err)
	}
	Wait(ctx, "the old namespace goes", func() bool {
		_, err := namespaces.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	Got(namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}))
}

// Run checks the claims in order, prints `N passed, N failed`, and ends the program.
func Run(before func(ctx context.Context), claims []Claim, after func(ctx context.Context)) {
	passed, wrong := 0, 0
	if before != nil {
		if what := attempt(before); what != "" {
			fmt.Printf("FAIL preparation\n    %s\n0 passed, 1 failed\n", what)
			os.Exit(1)
		}
	}
	for _, claim := range claims {
		if len(os.Args) > 1 && !named(claim.Name) {
			continue
		}
		started := time.Now()
		if what := attempt(claim.Check); what != "" {
			wrong++
			fmt.Printf("FAIL %s\n    %s\n", claim.Name, strings.ReplaceAll(what, "\n", "\n    "))
			continue
		}
		passed++
		fmt.Printf("ok   %s (%.1f s)\n", claim.Name, time.Since(started).Seconds())
	}
	if after != nil {
		attempt(after)
	}
	fmt.Printf("%d passed, %d failed\n", passed, wrong)
	if wrong > 0 || passed == 0 {
		os.Exit(1)
	}
	os.Exit(0)
}

func named(claim string) bool {
	for _, word := range os.Args[1:] {
		if strings.Contains(claim, word) {
			return true
		}
	}
	return false
}

func attempt(check func(ctx context.Context)) (what string) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case failed:
			what = e.what
		default:
			what = fmt.Sprintf("%v\n%s", e, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), claimMax)
	defer cancel()
	check(ctx)
	return ""
}
