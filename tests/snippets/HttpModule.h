// As much of Unreal as the snippet in deploy/CLIENTS.md uses, over plain sockets; main.cpp plays it.
#pragma once
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <netdb.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#define TEXT(words) words
#define UE_LOG(category, level, ...) (std::fprintf(stderr, __VA_ARGS__), std::fputc('\n', stderr))
using int32 = std::int32_t;
using int64 = long long;
template <class T> using TFunction = std::function<T>;

struct FString
{
    std::string Text;
    FString() = default;
    FString(const char* Words) : Text(Words) {}
    explicit FString(std::string Words) : Text(std::move(Words)) {}
    const char* operator*() const { return Text.c_str(); }
    bool IsEmpty() const { return Text.empty(); }
    FString operator+(const FString& Other) const { return FString(Text + Other.Text); }
    static FString Printf(const char* Format, ...) __attribute__((format(printf, 1, 2)))
    {
        char Room[4096];
        va_list Words;
        va_start(Words, Format);
        std::vsnprintf(Room, sizeof Room, Format, Words);
        va_end(Words);
        return FString(Room);
    }
};
inline FString operator+(const char* Words, const FString& Other) { return FString(Words) + Other; }

struct FMath
{
    static float Min(float A, float B) { return A < B ? A : B; }
    static float Pow(float A, float B) { return std::pow(A, B); }
    static float FRandRange(float Low, float High) { return Low + (High - Low) * std::rand() / float(RAND_MAX); }
};

enum class EGuidFormats { DigitsWithHyphensLower };
struct FGuid
{
    static FGuid NewGuid() { return {}; }
    FString ToString(EGuidFormats) const
    {
        char Room[37] = {};
        std::FILE* File = std::fopen("/proc/sys/kernel/random/uuid", "r");
        if (!File || !std::fgets(Room, sizeof Room, File)) std::abort();
        std::fclose(File);
        return FString(Room);
    }
};

struct FGenericPlatformHttp { static FString UrlEncode(const FString& Words) { return Words; } };

using FTickerDelegate = std::function<bool(float)>;
struct FCreate { static FTickerDelegate CreateLambda(std::function<bool(float)> Lambda) { return Lambda; } };
#define FTickerDelegate FCreate
struct FTSTicker
{
    std::deque<std::pair<std::function<bool(float)>, float>> Waiting;
    static FTSTicker& GetCoreTicker() { static FTSTicker One; return One; }
    void AddTicker(std::function<bool(float)> Delegate, float Seconds) { Waiting.emplace_back(Delegate, Seconds); }
    void Run()
    {
        while (!Waiting.empty())
        {
            auto [Delegate, Seconds] = Waiting.front();
            Waiting.pop_front();
            std::this_thread::sleep_for(std::chrono::duration<float>(Seconds));
            if (Delegate(Seconds)) Waiting.emplace_back(Delegate, Seconds);
        }
    }
};

struct IHttpResponse
{
    int32 Code = 0;
    FString Content;
    int32 GetResponseCode() const { return Code; }
    FString GetContentAsString() const { return Content; }
};
struct IHttpRequest;
using FHttpResponsePtr = std::shared_ptr<IHttpResponse>;
using FHttpRequestPtr = std::shared_ptr<IHttpRequest>;

struct FHttpRequestCompleteDelegate
{
    std::function<void(FHttpRequestPtr, FHttpResponsePtr, bool)> Bound;
    template <class T> void BindLambda(T Lambda) { Bound = Lambda; }
};

struct IHttpRequest : std::enable_shared_from_this<IHttpRequest>
{
    std::string Verb, Url, Headers, Body;
    FHttpRequestCompleteDelegate Complete;
    void SetVerb(const FString& Word) { Verb = Word.Text; }
    void SetURL(const FString& Address) { Url = Address.Text; }
    void SetTimeout(float) {}
    void SetHeader(const FString& Name, const FString& Value) { Headers += Name.Text + ": " + Value.Text + "\r\n"; }
    void SetContentAsString(const FString& Content) { Body = Content.Text; }
    FHttpRequestCompleteDelegate& OnProcessRequestComplete() { return Complete; }

    void ProcessRequest()
    {
        const std::string Answer = Exchange();
        const auto End = Answer.find("\r\n\r\n");
        if (End == std::string::npos) { Complete.Bound(shared_from_this(), nullptr, false); return; }
        auto Response = std::make_shared<IHttpResponse>();
        Response->Code = std::atoi(Answer.c_str() + 9);
        Response->Content = FString(Answer.substr(End + 4));
        Complete.Bound(shared_from_this(), Response, true);
    }

    std::string Exchange() const
    {
        const auto Slash = Url.find('/', 7), Colon = Url.find(':', 7);
        const std::string Host = Url.substr(7, Colon - 7), Port = Url.substr(Colon + 1, Slash - Colon - 1);
        const std::string Head = Verb + " " + Url.substr(Slash) + " HTTP/1.1\r\nHost: " + Host + "\r\nConnection: close\r\n"
            + Headers + (Body.empty() ? "" : "Content-Length: " + std::to_string(Body.size()) + "\r\n") + "\r\n" + Body;
        addrinfo* Found = nullptr;
        if (getaddrinfo(Host.c_str(), Port.c_str(), nullptr, &Found)) return "";
        const int Socket = socket(Found->ai_family, SOCK_STREAM, 0);
        std::string Answer;
        if (connect(Socket, Found->ai_addr, Found->ai_addrlen) == 0 && write(Socket, Head.data(), Head.size()) > 0)
        {
            char Room[65536];
            for (ssize_t Got; (Got = read(Socket, Room, sizeof Room)) > 0;) Answer.append(Room, Got);
        }
        close(Socket);
        freeaddrinfo(Found);
        return Answer;
    }
};

struct FHttpModule
{
    static FHttpModule& Get() { static FHttpModule One; return One; }
    std::shared_ptr<IHttpRequest> CreateRequest() { return std::make_shared<IHttpRequest>(); }
};
