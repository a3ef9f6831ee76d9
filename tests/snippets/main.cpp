// Plays the snippet for Unreal, which is compiled into this file.
#include "Leaderboard.cpp"

int main(int, char** Words)
{
    Key = FString(Words[1]);
    const auto Show = [](FString Answer) { std::printf("answer: %s\n", *Answer); };
    Submit(TEXT("ada"), 120, Show);
    FTSTicker::GetCoreTicker().Run();
    Top(Show);
    MyRank(TEXT("ada"), Show);
    FTSTicker::GetCoreTicker().Run();
}
